"""Credentials of the line between SuperNode and launcher on this machine, new at every start.

A certificate proves the SuperNode: the launcher, and the process of every message, trust no other.
A secret proves the launcher: the SuperNode hands messages to nobody else. Both lie in files of this
user alone, so that another user who takes the port first, or connects to it, gets nothing.
"""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from client.site import SiteSettings
from common.utils.durable import open_folder, write_durably

HOST = "127.0.0.1"
# longer than any run, and begun earlier, for a clock that is put back
_VALID, _BACKDATED = timedelta(days=3650), timedelta(days=1)


@dataclass(frozen=True)
class Loopback:
    """Files of the credentials.

    Parameters
    ----------
    folder : of this user alone.
    """

    folder: Path

    @property
    def certificate(self) -> Path:
        """Certificate of the SuperNode, PEM; it vouches for itself."""
        return self.folder / "certificate.pem"

    @property
    def key(self) -> Path:
        """Private key of the certificate, PEM."""
        return self.folder / "key.pem"

    @property
    def secret(self) -> Path:
        """Secret of the launcher, 32 bytes."""
        return self.folder / "superexec.secret"

    def renew(self) -> None:
        """Make new credentials in place of those of the last start."""
        open_folder(self.folder)
        certificate, key = _self_signed()
        write_durably(self.key, key)
        write_durably(self.certificate, certificate)
        write_durably(self.secret, secrets.token_bytes(32))

    def of_node(self, port: int) -> list[str]:
        """Return the arguments of `flower-supernode`."""
        return [
            *("--host", HOST, "--port", str(port)),
            *("--ssl-certfile", str(self.certificate), "--ssl-keyfile", str(self.key)),
            *("--ssl-ca-certfile", str(self.certificate)),
            *("--superexec-auth-secret-file", str(self.secret)),
        ]

    def of_launcher(self, port: int) -> list[str]:
        """Return the arguments of `flower-superexec`."""
        return [
            *("--runtime-api-address", f"{HOST}:{port}"),
            *("--root-certificates", str(self.certificate)),
            *("--superexec-auth-secret-file", str(self.secret)),
        ]


def loopback_of(settings: SiteSettings) -> Loopback:
    """Return the credentials that SuperNode and launcher of a site show each other."""
    return Loopback(settings.work / "loopback")


def _self_signed() -> tuple[bytes, bytes]:
    """Return a certificate for `HOST` that vouches for itself, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "SuperNode of this machine")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _VALID)
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    return (
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
