"""File in which a hospital that lost its keys asks to be let go, and others confirm it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import tomli_w
from pydantic import TypeAdapter, ValidationError

from common.errors import InputError
from common.masking.lost_keys import LetGoSite
from common.utils.bounded import parse_toml
from common.utils.text_file import read_written

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
