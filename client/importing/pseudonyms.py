"""Pseudonyms, UIDs and shifts of dates that follow from a secret of the site, so no list is kept.

Everything is an HMAC (RFC 2104) under the secret: a second import gives the same, and nobody can
invert or guess it without the secret.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path

from client.data.cohort_file import same_patient
from common.errors import InputError
from common.utils.durable import create_durably, exposed_mode
from common.utils.text_file import plain_text

FILE = "import.key"
_BYTES = 32
_LETTERS = "bcdfghjklmnpqrst"
"""Sixteen consonants: no digits that look like a date, no vowels that make a word."""
_ID_LETTERS, _CODE_LETTERS = 12, 6
_UID_ROOT = "2.25."
"""Root of UIDs made from a UUID (PS3.5, B.2)."""
_LEAST_DAYS, _MOST_DAYS = 365, 3650
STANDARD_ROOT = "1.2.840.10008."
"""Root of the standard's own UIDs, which name kinds of objects and nobody."""


class Pseudonyms:
    """Keyed pseudonyms of one site.

    Parameters
    ----------
    secret : of the site, 32 bytes.

    Examples
    --------
    >>> names = Pseudonyms(bytes(32))
    >>> names.patient("HOSP1") == names.patient(" HOSP1"), names.patient("HOSP1")[:2]
    (True, 'P-')
    >>> names.uid("1.2.840.10008.1.2"), names.uid("1.2.3")[:5]
    ('1.2.840.10008.1.2', '2.25.')
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def patient(self, identifier: str) -> str:
        """Return the pseudonym of a hospital's own identifier of a person or examination."""
        return "P-" + self._letters("patient", same_person(identifier), _ID_LETTERS)

    def code(self, *parts: str) -> str:
        """Return a short name of a choice, such as a series."""
        return self._letters("choice", "\n".join(parts), _CODE_LETTERS)

    def uid(self, original: str) -> str:
        """Return the UID in place of another one; those of the standard itself stay."""
        if not original or original.startswith(STANDARD_ROOT):
            return original
        number = int.from_bytes(self._digest("uid", original)[:16], "big")
        # version and variant of a random UUID (RFC 4122, 4.4)
        number = number & ~(0xF << 76) & ~(0x3 << 62) | (0x4 << 76) | (0x2 << 62)
        return f"{_UID_ROOT}{number}"

    def days(self, patient: str) -> int:
        """Return the number of days by which all dates of a person are moved back."""
        number = int.from_bytes(self._digest("days", same_person(patient))[:8], "big")
        return _LEAST_DAYS + number % (_MOST_DAYS - _LEAST_DAYS)

    def fingerprint(self, text: str) -> str:
        """Return a digest that shows a change of its input and tells nothing else."""
        return self._digest("fingerprint", text).hex()

    def _letters(self, purpose: str, text: str, count: int) -> str:
        digits = self._digest(purpose, text).hex()[:count]
        return "".join(_LETTERS[int(digit, 16)] for digit in digits)

    def _digest(self, purpose: str, text: str) -> bytes:
        return hmac.digest(self._secret, f"{purpose}\n{text}".encode(), hashlib.sha256)


def same_person(identifier: str) -> str:
    """Normalise an identifier, so that a table's and an archive's form of it are equal."""
    return same_patient(plain_text(identifier))


def load_secret(keys: Path) -> bytes:
    """Return the site's secret of imports, made when it is first needed.

    Parameters
    ----------
    keys : folder of the site's keys.

    Raises
    ------
    InputError : others can read it, or it is damaged.
    """
    path = keys / FILE
    create_durably(path, secrets.token_hex(_BYTES).encode())
    if exposed_mode(path):
        raise InputError(
            "other users can read the secret of the pseudonyms", where=str(path), remedy="chmod 600"
        )
    try:
        secret = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except ValueError:
        secret = b""
    if len(secret) != _BYTES:
        raise InputError(
            "the secret of the pseudonyms is damaged",
            where=str(path),
            remedy="restore it from the backup of the folder keys; under another secret every"
            " patient would get another pseudonym",
        )
    return secret
