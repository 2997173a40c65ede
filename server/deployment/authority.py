"""Certificate authority of a coordinator, and the certificate of its server.

EC P-384 with SHA-384 throughout. The authority signs nothing but this one server: sites trust it
for the coordinator's address alone (name constraints are not used, as not every TLS library checks
them).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from common.errors import InputError

AUTHORITY_DAYS = 3650
SERVER_DAYS = 397  # the longest that TLS libraries of today accept
# a certificate is valid a little earlier, for machines whose clock is late
_BACKDATED = timedelta(hours=1)
LOOPBACK = ("localhost", "127.0.0.1")


@dataclass(frozen=True)
class Pair:
    """Certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


def make_authority(name: str) -> Pair:
    """Make a new authority, valid for ten years."""
    key = ec.generate_private_key(ec.SECP384R1())
    subject = _name(f"fedlnm authority of {name}")
    builder = _builder(subject, subject, key.public_key(), AUTHORITY_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    builder = builder.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    )
    return _pair(builder.sign(key, SHA384()), key)


def make_server(authority: Pair, host: str, days: int = SERVER_DAYS) -> Pair:
    """Make a certificate for the coordinator's server: its public name, and loopback.

    Parameters
    ----------
    host : name or IP address that sites connect to.
    days : from now; negative gives one that has expired.
    """
    signer = load_pem_private_key(authority.key, password=None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise InputError("not an EC key", where="key of the authority")
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    key = ec.generate_private_key(ec.SECP384R1())
    builder = _builder(_name(host), issuer.subject, key.public_key(), days)
    builder = builder.add_extension(_names(host), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
    )
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
    )
    return _pair(builder.sign(signer, SHA384()), key)


def days_left(certificate: bytes, now: datetime) -> float:
    """Return the days until a certificate (PEM) expires; negative when it has."""
    end = x509.load_pem_x509_certificate(certificate).not_valid_after_utc
    return (end - now) / timedelta(days=1)


def is_for(certificate: bytes, host: str) -> bool:
    """Return whether `make_server` made this certificate (PEM) for a host."""
    found = x509.load_pem_x509_certificate(certificate).extensions
    return found.get_extension_for_class(x509.SubjectAlternativeName).value == _names(host)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    start = min(now, now + timedelta(days=days)) - _BACKDATED
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(now + timedelta(days=days))
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _names(host: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(list(_alternatives((host, *LOOPBACK))))


def _alternatives(hosts: Iterable[str]) -> Iterable[x509.GeneralName]:
    for host in dict.fromkeys(hosts):
        try:
            yield x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
        except ValueError:
            yield x509.DNSName(host)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
