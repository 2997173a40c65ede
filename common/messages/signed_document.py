"""Small JSON files that one party signs and another checks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from common.errors import InputError, SignatureError
from common.masking import identity
from common.masking.fixed_point import from_text, to_text
from common.study.block import explain
from common.utils.bounded import MOST_SETTINGS, parse_json, read_bytes
from common.utils.text_file import check_printable

M = TypeVar("M", bound=BaseModel)


class SignedDocument(BaseModel):
    """Signed JSON file: the signature covers all other fields, as JSON with sorted keys.

    `purpose` keeps a signature under one kind of document from holding under another.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    purpose: ClassVar[str]
    signature: str = ""

    @field_validator("*")
    @classmethod
    def _texts_print(cls, value: Any) -> Any:
        """Check that every line of every text is printable; certificates have several lines."""
        check_printable(value.split("\n") if isinstance(value, str) else value)
        return value

    def signed_by(self, private: Ed25519PrivateKey) -> Self:
        """Return this document with a signature."""
        signature = identity.sign(private, self.purpose, self._message())
        return self.model_copy(update={"signature": to_text(signature)})

    def check_signature(self, public: Ed25519PublicKey) -> None:
        """Check that the document was signed with this key.

        Raises
        ------
        SignatureError : it was not.
        """
        try:
            signature = from_text(self.signature, identity.SIGNATURE_BYTES)
        except ValueError:
            raise SignatureError(f"the {self.purpose} is not signed", where=self.purpose) from None
        identity.verify(public, self.purpose, self._message(), signature)

    def check_signed_by(self, key: str) -> str:
        """Return the fingerprint of this key (base64), which signed it; to compare by phone.

        Raises
        ------
        InputError, SignatureError : not a key, or not signed with it.
        """
        public = identity.public_key(key)
        self.check_signature(public)
        return identity.fingerprint(public)

    def to_bytes(self) -> bytes:
        """Return the content of the file."""
        return json.dumps(self.model_dump(mode="json"), indent=1).encode() + b"\n"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file of this kind without checking its signature.

        Raises
        ------
        InputError : no such file, or not one of this kind.
        """
        return read_document(path, cls)

    def _message(self) -> bytes:
        fields = self.model_dump(mode="json", exclude={"signature"})
        return json.dumps(fields, sort_keys=True).encode()


def read_document(path: Path, model: type[M]) -> M:
    """Read a JSON file of another party.

    Raises
    ------
    InputError : no such file, or not one of this kind.
    """
    if not path.is_file():
        raise InputError("no such file", where=str(path))
    try:
        return model.model_validate(parse_json(read_bytes(path, MOST_SETTINGS)))
    except ValidationError as error:
        raise explain(error, where=str(path), model=model) from None
    except ValueError:
        raise InputError(
            "not JSON", where=str(path), remedy="ask for the file again; it came damaged"
        ) from None
