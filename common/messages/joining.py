"""The two files used to join: the coordinator's invitation, the site's request.

Both travel by e-mail. Neither holds a secret; both are signed, and their fingerprints are compared
by phone, as nothing else distinguishes a forged file from the true one.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_public_key,
)
from cryptography.x509 import load_pem_x509_certificate
from pydantic import Field, field_validator

from common.messages.signed_document import SignedDocument
from common.study.model import Name

ADDRESS = r"^[A-Za-z0-9.:\[\]-]+:[0-9]{1,5}$"


class Invitation(SignedDocument):
    """Address and keys of a coordinator.

    Parameters
    ----------
    address : host:port that hospitals connect to.
    certificate : PEM of the authority that signs the server's certificate.
    coordinator_key : identity key (base64), which also signs final models.
    """

    purpose: ClassVar[str] = "invitation"
    address: Annotated[str, Field(pattern=ADDRESS)]
    certificate: str
    coordinator_key: str

    @field_validator("certificate")
    @classmethod
    def _is_certificate(cls, text: str) -> str:
        try:
            load_pem_x509_certificate(text.encode())
        except ValueError:
            raise ValueError("not a certificate in PEM") from None
        return text

    def check(self) -> str:
        """Return the fingerprint of the coordinator who signed it; see `check_signed_by`."""
        return self.check_signed_by(self.coordinator_key)


class JoinRequest(SignedDocument):
    """A site's public keys.

    Parameters
    ----------
    site : its name, as in every study it takes part in.
    identity_key : base64, signs its masks and ledger.
    node_key : EC P-384 in OpenSSH's text, opens the connection to the coordinator.
    """

    purpose: ClassVar[str] = "request to join"
    site: str = Name
    identity_key: str
    node_key: str

    @field_validator("node_key")
    @classmethod
    def _is_node_key(cls, text: str) -> str:
        node_key_pem(text)
        return text

    def check(self) -> str:
        """Return the fingerprint of the site that signed it; see `check_signed_by`."""
        return self.check_signed_by(self.identity_key)


def node_key_pem(text: str) -> bytes:
    """Convert an OpenSSH public key to the form in which Flower identifies a node.

    Raises
    ------
    ValueError : not a public EC P-384 key.
    """
    try:
        key = load_ssh_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("not a public key in OpenSSH's text") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise ValueError("not an EC P-384 key")
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
