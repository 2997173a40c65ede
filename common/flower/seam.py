"""Private functions of Flower that are replaced, and the check that they have not moved."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from flwr.supercore.version import package_version

from common.errors import StudyError
from common.flower.app import FLOWER

Seam = Iterable[tuple[Any, str, str]]
"""Owner, name and names of the parameters of each function."""


def check_seam(part: str, seam: Seam, *, where: str, moved: Iterable[str] = ()) -> None:
    """Return if Flower is as one of our parts was written for.

    Parameters
    ----------
    part : of ours, in words.
    moved : what was found to be otherwise by other signs.

    Raises
    ------
    StudyError : another release, or a function is gone or has other parameters.
    """
    found = [name for owner, name, names in seam if _parameters(owner, name) != names.split()]
    found += moved
    if package_version != FLOWER or found:
        names = f" ({', '.join(found)})" if found else ""
        raise StudyError(
            f"Flower {package_version} is not the one that {part} was made for{names}",
            where=where,
            remedy=f"install flwr {FLOWER}; nothing goes on with another one",
        )


def _parameters(owner: Any, name: str) -> list[str]:
    function = getattr(owner, name, None)
    return list(inspect.signature(function).parameters) if function else []


@contextmanager
def replaced(functions: Iterable[tuple[Any, str, Any]]) -> Iterator[None]:
    """Put functions in the place of Flower's while the block lasts: owner, name, function."""
    new = tuple(functions)
    before = [(owner, name, vars(owner).get(name)) for owner, name, _ in new]
    try:
        for owner, name, function in new:
            setattr(owner, name, function)
        yield
    finally:
        for owner, name, own in before:
            if own is None:  # it was inherited
                delattr(owner, name)
            else:
                setattr(owner, name, own)
