"""Types of the gate, and the check that values are exactly what their class declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from client.gate.vocabulary import CODES
from common.errors import StudyError
from common.messages import conforming
from common.messages.conforming import LONGEST_LIST, LONGEST_TEXT
from common.study.model import PrivacySettings, Study

__all__ = ["LONGEST_LIST", "LONGEST_TEXT", "GateContext", "StoppedError", "conform", "expect"]


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
    what : for the site's own screen and log; empty for the words of the code.
    """

    def __init__(self, code: str, what: str = "") -> None:
        self.code = code
        super().__init__(
            what or CODES[code],
            where=f"gate ({code})",
            remedy="nothing left; see gate.log in the work folder",
        )


def expect(holds: object, code: str, what: str = "") -> None:
    """Raise StoppedError unless it holds."""
    if not holds:
        raise StoppedError(code, what)


def conform(value: Any, declared: Any, where: str, lengths: dict[str, int]) -> None:
    """Return if a value is of the declared type, and within its limits, all the way down.

    Raises
    ------
    StoppedError : it is not; the value itself is not repeated.
    """
    try:
        conforming.conform(value, declared, where, lengths)
    except conforming.UnfitError as error:
        raise StoppedError(error.fault, f"{CODES[error.fault]}: {error.where}") from None
