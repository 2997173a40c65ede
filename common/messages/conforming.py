"""Check that a value of another party is exactly what its class declares, all the way down."""

from __future__ import annotations

import dataclasses
import types
from functools import cache
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

import numpy as np

LONGEST_TEXT = 200
LONGEST_LIST = 10_000
Fault = Literal["type", "shape", "dtype", "text", "value"]


class UnfitError(ValueError):
    """Value of another type, or beyond its limits; the value itself is not repeated.

    Parameters
    ----------
    where : name of the field.
    """

    def __init__(self, fault: Fault, where: str) -> None:
        super().__init__(f"{fault}: {where}")
        self.fault, self.where = fault, where


def conform(value: Any, declared: Any, where: str, lengths: dict[str, int]) -> None:
    """Return if a value is of the declared type, and within its limits, all the way down.

    Knows what the replies of the catalogue are made of: numbers, short printable text, None,
    tuples, dictionaries, arrays of one dtype, plain classes.

    Parameters
    ----------
    lengths : of axes, by the names that limits give them.

    Raises
    ------
    UnfitError : it is not.
    """
    origin, parts = get_origin(declared), get_args(declared)
    if origin is Annotated:
        conform(value, parts[0], where, lengths)
        if broken := parts[1].broken(value, lengths):
            raise UnfitError(broken, where)
    elif origin in (Union, types.UnionType):
        (other,) = (part for part in parts if part is not type(None))
        if value is not None:
            conform(value, other, where, lengths)
    elif origin is tuple:
        _expect(type(value) is tuple and len(value) <= LONGEST_LIST, "type", where)
        hints = parts[:1] * len(value) if parts[1:] == (Ellipsis,) else parts
        _expect(len(value) == len(hints), "shape", where)
        for part, hint in zip(value, hints, strict=True):
            conform(part, hint, f"an entry of {where}", lengths)
    elif origin is dict:
        _expect(type(value) is dict and len(value) <= LONGEST_LIST, "type", where)
        for key, part in value.items():
            conform(key, str, f"a name in {where}", lengths)
            conform(part, parts[1], f"an entry of {where}", lengths)
    elif origin is np.ndarray:
        _expect(isinstance(value, np.ndarray), "type", where)
        wanted = np.dtype(get_args(parts[1])[0])
        _expect(value.dtype == wanted, "dtype", f"{where} (expected {wanted})")
    elif dataclasses.is_dataclass(declared):
        _expect(type(value) is declared, "type", where)
        known = dict(lengths)
        for name, hint in _fields(cast(Any, declared)):
            conform(getattr(value, name), hint, f"{where}.{name}", known)
    else:
        _conform_scalar(value, declared, where)


@cache
def _fields(declared: Any) -> tuple[tuple[str, Any], ...]:
    """Return names and declared types of a plain class; reading them takes longer than a check."""
    hints = get_type_hints(declared, include_extras=True)
    return tuple((field.name, hints[field.name]) for field in dataclasses.fields(declared))


def _conform_scalar(value: Any, declared: Any, where: str) -> None:
    _expect(declared in (str, float, int, bool), "type", f"{where}: of a type that is not known")
    _expect(type(value) in ((int, float) if declared is float else (declared,)), "type", where)
    if declared is str:
        fits = len(value) <= LONGEST_TEXT and value.isprintable()
        _expect(fits, "text", f"{where} (longer than {LONGEST_TEXT} letters, or not printable)")


def _expect(holds: object, fault: Fault, where: str) -> None:
    if not holds:
        raise UnfitError(fault, where)
