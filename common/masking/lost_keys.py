"""Request of a hospital that lost its keys to be let go, with the word of those who know it.

It cannot sign that it leaves with the key under which it took part. It signs with a new one, and
the coordinator and two other hospitals of its roster confirm, each after a call, that the new key
is that hospital's. It is let go and no more: under another key it stays another hospital, since it
has no memory of what it released, and one made up by the coordinator would look the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import tomli_w
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from common.errors import InputError
from common.masking import identity
from common.masking.fixed_point import framed
from common.masking.leaving import SITE, check_statement, sign_statement
from common.utils.bounded import parse_toml
from common.utils.text_file import read_written

FEWEST_HOSPITALS = 2
COORDINATOR = ""
"""In place of a site's name."""
_REQUEST, _CONFIRMATION = "request to be let go", "confirmation of a new key"
# signed with the rest, so that nobody can claim it meant less
_MEANING = (
    "This hospital lost the key that it has on this roster, and leaves the hospitals of this roster"
    " for good. The same sums may be given again without it, and its own numbers may be found by"
    " subtraction."
)
_CONFIRMED = "This hospital said so by phone, and read out the fingerprint of its new key."


class Confirmation(BaseModel):
    """Signature of one that has called the hospital.

    Parameters
    ----------
    site : its name on the roster; `COORDINATOR` = the coordinator.
    public_key : its identity key (base64).
    signature : Ed25519 (base64) over the request, and what was heard.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    site: str = Field(pattern=rf"{SITE}|^$")
    public_key: str
    signature: str


class LetGoSite(BaseModel):
    """Request to be let go, as `[[left]]` in study.toml.

    Parameters
    ----------
    site : name of the hospital on the roster it leaves.
    public_key : its identity key there (base64), which is lost.
    roster : digest of that roster (hexadecimal).
    new_key : its new identity key (base64).
    signature : Ed25519 (base64) with the new key over meaning and all of the above.
    confirmations : by the coordinator, and by other hospitals.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    site: str = Field(pattern=SITE)
    public_key: str
    roster: str = Field(pattern=r"^[0-9a-f]{64}$")
    new_key: str
    signature: str
    confirmations: tuple[Confirmation, ...] = ()

    @classmethod
    def sign(cls, private: Ed25519PrivateKey, site: str, lost_key: str, roster: str) -> Self:
        """Sign the request with the new key."""
        new, signature = sign_statement(
            private, _REQUEST, lambda key: _message(site, lost_key, roster, key)
        )
        return cls(site=site, public_key=lost_key, roster=roster, new_key=new, signature=signature)

    def confirmed_by(self, private: Ed25519PrivateKey, site: str) -> Self:
        """Return the request with one more confirmation."""
        key, signature = sign_statement(private, _CONFIRMATION, lambda _: self._confirmed())
        made = Confirmation(site=site, public_key=key, signature=signature)
        return self.with_confirmations((made,))

    def with_confirmations(self, more: tuple[Confirmation, ...]) -> Self:
        """Return the request with these confirmations, each once."""
        together = tuple(dict.fromkeys((*self.confirmations, *more)))
        return self.model_copy(update={"confirmations": together})

    def verify(self) -> None:
        """Check that the new key signed the request, and each confirmer its confirmation.

        Whose keys these are, only `enough` can say.

        Raises
        ------
        SignatureError : another key signed it, or a key or a signature cannot be read.
        """
        remedy = "use the files as they were written at those hospitals"
        own = Confirmation(site=self.site, public_key=self.new_key, signature=self.signature)
        message = _message(self.site, self.public_key, self.roster, self.new_key)
        what = "its request to be let go is not one that it signed"
        check_statement(own, _REQUEST, message, what, remedy)
        for one in self.confirmations:
            what = f"the confirmation of {one.site or 'the coordinator'} is not one that it signed"
            check_statement(one, _CONFIRMATION, self._confirmed(), what, remedy)

    def enough(self, roster: Mapping[str, str], coordinator_key: str) -> bool:
        """Say whether the coordinator and two other hospitals of the roster have confirmed it.

        Parameters
        ----------
        roster : identity keys (base64) by site, of the roster that is left.
        coordinator_key : identity key (base64) of the coordinator.
        """
        keys = {(one.site, one.public_key) for one in self.confirmations}
        hospitals = {
            key
            for site, key in keys
            if site not in (COORDINATOR, self.site) and key and roster.get(site) == key
        } - {self.public_key, self.new_key, coordinator_key}
        coordinator = bool(coordinator_key) and (COORDINATOR, coordinator_key) in keys
        return coordinator and len(hospitals) >= FEWEST_HOSPITALS

    def fingerprint(self) -> str:
        """Return the fingerprint of the new key, to compare by phone.

        Raises
        ------
        InputError : not a key.
        """
        return identity.fingerprint(identity.public_key(self.new_key))

    def _confirmed(self) -> bytes:
        request = _message(self.site, self.public_key, self.roster, self.new_key)
        return framed(_CONFIRMED, request)


def _message(site: str, lost_key: str, roster: str, new_key: str) -> bytes:
    return framed(_MEANING, site, lost_key, roster, new_key)


def check_confirmable(request: LetGoSite, site: str) -> None:
    """Return if a party may confirm a request.

    Raises
    ------
    InputError : it is the party's own.
    SignatureError : the new key did not sign it.
    """
    request.verify()
    if request.site == site:
        raise InputError(
            "a hospital cannot confirm its own new key",
            where=f"site {site}",
            remedy="the coordinator and two other hospitals confirm it",
        )


HEADER = """\
# Request of a hospital that lost its keys, made by fedlnm-site leave --lost-keys. It takes the word
# of the coordinator (fedlnm-server confirm) and of two hospitals (fedlnm-site confirm). Then:
# fedlnm-server prepare FOLDER STUDY.toml --without FILE, with the file of each of them
"""
_REQUESTS = TypeAdapter(tuple[LetGoSite, ...])


def describe(asked: Sequence[LetGoSite]) -> Iterator[str]:
    """Describe what is confirmed, and whom to call."""
    name, fingerprint = asked[0].site, asked[0].fingerprint()
    yield f"{name} says that it lost its keys, and asks to be let go for good."
    yield f"fingerprint of its new key: {fingerprint}"
    yield (
        f"CALL {name}, at a number that you know already: have they lost their keys, do they want"
        " to leave, and which fingerprint do they read? With the coordinator and two hospitals the"
        f" others go on without {name}, and its own sums may be found by subtraction."
    )


def as_text(asked: Sequence[LetGoSite]) -> str:
    """Return the content of the file."""
    return HEADER + tomli_w.dumps({"left": [one.model_dump() for one in asked]})


def read_requests(path: Path) -> tuple[LetGoSite, ...]:
    """Return the requests in a file, all of one hospital under one new key.

    Raises
    ------
    InputError : no such file, or not one with requests.
    """
    remedy = "give the file as fedlnm-site leave --lost-keys wrote it"
    if not path.is_file():
        raise InputError("no such file", where=str(path), remedy=remedy)
    try:
        written = parse_toml(read_written(path), str(path))
        found = _REQUESTS.validate_python(written.get("left", ()))
    except ValidationError:
        found = ()
    if len({(one.site, one.new_key) for one in found}) != 1:
        raise InputError(
            "no request of a hospital that lost its keys", where=str(path), remedy=remedy
        )
    return found
