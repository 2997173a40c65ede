"""Types and codes of the gate, and the check that a reply has the form that it is to have.

A reply holds codes, as a free text could carry a patient's name out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.disclosure.rule import RULES, TRAIN, once
from common.disclosure.rule import refusal as in_force
from common.errors import StudyError
from common.messages.conforming import LONGEST_LIST, LONGEST_TEXT, UnfitError
from common.messages.exchanges import Problem, Refusal, Refused
from common.messages.problems import PROBLEMS
from common.messages.replies import check_form
from common.study.model import PrivacySettings, Study
from common.study.sums import subsets_of

CODES = {
    "not_asked": "a reply to a message that was never asked",
    "second_reply": "a second reply to one message",
    "unknown_exchange": "a message that is not in the catalogue",
    "request_unreadable": "a request that is not the one its exchange has",
    "study_unknown": "a study this site was never shown",
    "study_not_approved": "a study that is not approved at this site",
    "not_on_roster": "a study without this site",
    "other_release": "the app of another release than is installed at this site",
    "app_failed": "the app raised an error",
    "incomplete": "a reply whose parts never came",
    "undecodable": "a reply that is not a message of this system",
    "extra_content": "something beside the declared fields",
    "wrong_reply": "the reply of another exchange",
    "other_question": "a reply in another site's name, or to another question",
    "type": "a field of another type than declared",
    "dtype": "an array of another dtype than declared",
    "shape": "an array or list of another size than follows from the request",
    "value": "a number that cannot be",
    "text": "a text with other words than the gate knows",
    "not_masked": "sums that should be masked and are not",
    "too_few": "fewer patients than the thresholds ask for",
    "not_declared": "an exchange that the study does not declare",
    "not_derived": "a question that the site's own run of the study does not ask",
    "derivation_failed": "the site's own run of the study failed",
    "other_enrolments": "enrolments that not all sites were shown alike",
    "gate_failed": "the gate itself failed",
    "rolled_back": "a ledger that lacks an entry which the site has signed",
    "other_rolled_back": "another site's ledger that lacks an entry which it has signed",
    "not_absent": "a study without a hospital that has not been away for as long as it agreed to",
    "restarted": "a question under keys of an earlier start of the site's program",
    "overtaken": "a round of training that came after a newer one of the same run",
}

CURES = {
    "study_unknown": "read the study file that the coordinator sent, and approve it or not",
    "study_not_approved": "read what changed (fedlnm-site approve STUDY.toml --diff), and approve"
    " it or not",
    "not_on_roster": "ask the coordinator for a study with this hospital, and approve that",
    "restarted": "nothing: all hospitals agree on new keys by themselves",
    "overtaken": "nothing: the study has gone on without this answer",
    "other_rolled_back": "the hospital that is named must restore its newest backup",
    "not_derived": "call the coordinator; leave verify = true in site.toml",
    "derivation_failed": "call the coordinator, and compare the installed releases",
}
"""Remedies at the hospital for some of the codes, where the words do not name them already."""

_LOG_ID = re.compile(r"[0-9a-f]{8}")


def is_code(problem: Problem) -> bool:
    """Tell if a problem is one of the gate's codes or of `PROBLEMS`, with a log id."""
    return problem.kind in {*CODES, *PROBLEMS} and bool(_LOG_ID.fullmatch(problem.log_id))


def are_refusals(reply: Any, study: Study, privacy: PrivacySettings, site: str) -> bool:
    """Tell if all refusals in a reply are such that nothing in them depends on a value.

    Each names a rule, its threshold in force and a set of patients of this site; of each pair there
    is one, in one order. Only those about test sets can be withheld.
    """
    own = subsets_of(study, site)
    if isinstance(reply, Refused) and not reply.refusals:
        return False
    refusals, withheld = getattr(reply, "refusals", ()), getattr(reply, "withheld", ())
    tested = tuple(name for name in own if name != TRAIN)
    return _exact(refusals, ("", *own), privacy) and _exact(withheld, tested, privacy)


def _exact(given: Sequence[Refusal], subsets: Sequence[str], privacy: PrivacySettings) -> bool:
    """Tell if refusals are those that this release makes, types of numbers included."""
    if not all(one.rule in RULES and one.subset in subsets for one in given):
        return False
    own = once(in_force(one.rule, privacy, one.subset) for one in given)
    return [repr(one) for one in given] == [repr(one) for one in own]


__all__ = ["LONGEST_LIST", "LONGEST_TEXT", "GateContext", "StoppedError", "expect", "expect_form"]


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
    code : one of `CODES`; all that the coordinator learns.
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


def expect_form(request: Any, reply: Any, context: GateContext) -> None:
    """Return if a reply has the form that its request and the study give it.

    Raises
    ------
    StoppedError : it has not; the value itself is not repeated.
    """
    try:
        check_form(request, reply, context.study, context.site)
    except UnfitError as error:
        raise StoppedError(error.fault, f"{CODES[error.fault]}: {error.where}") from None
