"""The two files used to join: the coordinator's invitation, the site's request.

Both travel by e-mail. Neither holds a secret; both are signed, and their fingerprints are compared
by phone, as nothing else distinguishes a forged file from the true one.
"""

from __future__ import annotations

import base64
from typing import Annotated, ClassVar, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_public_key,
)
from cryptography.x509 import load_pem_x509_certificate
from pydantic import Field, field_validator

from common.errors import SignatureError
from common.masking import identity
from common.masking.fixed_point import PROTOCOL, framed, to_text
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
    node_signature : base64, made with the private half of `node_key` (ECDSA, SHA-384) over the
        other three: whoever asks has that key, and does not give another hospital's for its own.
    """

    purpose: ClassVar[str] = "request to join"
    site: str = Name
    identity_key: str
    node_key: str
    node_signature: Annotated[str, Field(max_length=200)]

    @field_validator("node_key")
    @classmethod
    def _is_node_key(cls, text: str) -> str:
        node_key_pem(text)
        return text

    @classmethod
    def make(
        cls, site: str, private: Ed25519PrivateKey, node_private: ec.EllipticCurvePrivateKey
    ) -> Self:
        """Return a request signed with both keys.

        Raises
        ------
        ValidationError : `site` cannot be a site's name.
        """
        form = Encoding.OpenSSH, PublicFormat.OpenSSH
        own = identity.public_text(private.public_key())
        node = node_private.public_key().public_bytes(*form).decode()
        proof = node_private.sign(_claim(site, own, node), ec.ECDSA(SHA384()))
        made = cls(site=site, identity_key=own, node_key=node, node_signature=to_text(proof))
        return made.signed_by(private)

    def check(self) -> str:
        """Return the fingerprint of the site that signed it with both of its keys.

        Raises
        ------
        InputError, SignatureError : not a key, or not signed with it.
        """
        key, claim = _node_key(self.node_key), _claim(self.site, self.identity_key, self.node_key)
        found = self.check_signed_by(self.identity_key)
        try:
            proof = base64.b64decode(self.node_signature, validate=True)
            key.verify(proof, claim, ec.ECDSA(SHA384()))
        except (InvalidSignature, ValueError):
            raise SignatureError(
                "whoever made the request does not have the key of the node that it names",
                where=f"site {self.site}",
                remedy="the hospital makes keys of its own, with fedlnm-site init in a new folder",
            ) from None
        return found


def _claim(site: str, identity_key: str, node_key: str) -> bytes:
    return framed(PROTOCOL, "possession of a node's key", site, identity_key, node_key)


def node_key_pem(text: str) -> bytes:
    """Convert an OpenSSH public key to the form in which Flower identifies a node.

    Raises
    ------
    ValueError : not a public EC P-384 key.
    """
    return _node_key(text).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _node_key(text: str) -> ec.EllipticCurvePublicKey:
    try:
        key = load_ssh_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("not a public key in OpenSSH's text") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise ValueError("not an EC P-384 key")
    return key
