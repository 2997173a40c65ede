"""Types of the gate, and the check that values are exactly of their declared type."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from common.errors import StudyError
from common.study.model import PrivacySettings, Study

LONGEST_TEXT = 200
LONGEST_LIST = 10_000


@dataclass(frozen=True)
class GateContext:
    """Knowledge of a site beside the request.

    Parameters
    ----------
    site : its name.
    study : as approved.
    privacy : the stricter of the study's and the site's thresholds.
    software : versions on this machine, as enrolment must give them.
    """

    site: str
    study: Study
    privacy: PrivacySettings
    software: Mapping[str, str]


class StoppedError(StudyError):
    """Reply or request that is stopped.

    Parameters
    ----------
    code : one of `client.gate.vocabulary.CODES`; all that the coordinator learns.
    what : for the site's own screen and log.
    """

    def __init__(self, code: str, what: str) -> None:
        self.code = code
        super().__init__(
            what, where=f"gate ({code})", remedy="nothing left; see gate.log in the work folder"
        )


def conform(value: Any, declared: Any, where: str) -> None:
    """Return if a value is of the declared type all the way down.

    Lets through what the replies of the catalogue are made of: numbers, short printable text, None,
    tuples, dictionaries, arrays of one dtype, plain classes.

    Raises
    ------
    StoppedError : it is not; the value itself is not repeated.
    """
    origin = get_origin(declared)
    if origin in (Union, types.UnionType):
        _conform_union(value, get_args(declared), where)
    elif origin is tuple:
        _conform_tuple(value, get_args(declared), where)
    elif origin is dict:
        _expect(type(value) is dict and len(value) <= LONGEST_LIST, "type", where)
        for key, part in value.items():
            _conform_text(key, f"a name in {where}")
            conform(part, get_args(declared)[1], f"an entry of {where}")
    elif origin is np.ndarray:
        _expect(isinstance(value, np.ndarray), "type", where)
        wanted = np.dtype(get_args(get_args(declared)[1])[0])
        _expect(value.dtype == wanted, "dtype", f"{where} (expected {wanted})")
    elif dataclasses.is_dataclass(declared):
        _expect(type(value) is declared, "type", where)
        for name, hint in get_type_hints(declared).items():
            if name in {field.name for field in dataclasses.fields(declared)}:
                conform(getattr(value, name), hint, f"{where}.{name}")
    else:
        _conform_scalar(value, declared, where)


def _conform_union(value: Any, choices: tuple[Any, ...], where: str) -> None:
    if value is None and type(None) in choices:
        return
    others = [choice for choice in choices if choice is not type(None)]
    _expect(len(others) == 1, "type", where)
    conform(value, others[0], where)


def _conform_tuple(value: Any, parts: tuple[Any, ...], where: str) -> None:
    _expect(type(value) is tuple and len(value) <= LONGEST_LIST, "type", where)
    if len(parts) == 2 and parts[1] is Ellipsis:
        parts = (parts[0],) * len(value)
    _expect(len(value) == len(parts), "shape", where)
    for part, hint in zip(value, parts, strict=True):
        conform(part, hint, f"an entry of {where}")


def _conform_scalar(value: Any, declared: Any, where: str) -> None:
    if declared is str:
        _conform_text(value, where)
    elif declared is float:
        _expect(type(value) in (int, float), "type", where)
    elif declared in (int, bool, type(None)):
        _expect(type(value) is declared, "type", where)
    else:
        raise StoppedError("type", f"{where}: the gate does not know what may be in it")


def _conform_text(value: Any, where: str) -> None:
    _expect(type(value) is str, "type", where)
    fits = len(value) <= LONGEST_TEXT and value.isprintable()
    _expect(fits, "text", f"{where} (longer than {LONGEST_TEXT} letters, or not printable)")


def _expect(holds: bool, code: str, where: str) -> None:
    if not holds:
        raise StoppedError(code, f"{where} is not what the catalogue declares")


def expect(holds: object, code: str, what: str) -> None:
    """Raise StoppedError unless it holds."""
    if not holds:
        raise StoppedError(code, what)
