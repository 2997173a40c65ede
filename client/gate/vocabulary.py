"""Words that a reply may use: a free text could carry a patient's name out."""

from __future__ import annotations

import builtins
import re
import string
from collections.abc import Sequence
from typing import Any

import common.errors
from common.disclosure import RULES
from common.disclosure.rule import refusal as in_force
from common.messages.exchanges import Problem, Refusal, Refused
from common.messages.plain import to_tree
from common.study.model import PrivacySettings, Study

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
    "gate_failed": "the gate itself failed",
    "rolled_back": "a ledger that lacks an entry which the site has signed",
    "other_rolled_back": "another site's ledger that lacks an entry which it has signed",
    "restarted": "a question under keys of an earlier start of the site's program",
}

# raised where cohorts, images and networks are read, by us and by libraries
_OTHER_ERRORS = """
BadZipFile EmptyDataError InvalidDicomError InvalidSignature InvalidTag LinAlgError
OutOfMemoryError ParserError SafetensorError UntrustedTypesFoundException ValidationError
PatientError _ArrayMemoryError _UFuncNoLoopError
"""

_SUBJECT_WORDS = """
1 a above all an and another apart are as asked at before bin bins bounded by category cell cells
change changed class classes clipped column columns cost counts decision differ do does each
earlier edge end faithful few fewer final finite fitted fold folds for forest form from gradients
grow has have held in is it its known leave left less level levels limit machines made many masked
matrix mode model models more name network networks no none not number of on one only or other
others out out-of-fold outside over own part patients place positive privacy privacy.mode
probabilities probability quartiles questions rank ranks read refused release released rows s same
scale scores set sets share since site site.toml sites small smaller some source split statistic
study sum sums Table table tables test than that the their them this to train training tree twice
two under values view was weights were with within without
"""
_WORD = re.compile(r"[\w.-]+")
_LOG_ID = re.compile(r"[0-9a-f]{8}")
_MOST_REFUSALS, _LONGEST_NAME = 1000, 200


def problem_kinds() -> frozenset[str]:
    """Return the kinds of a `Problem`: the gate's codes and the errors that anyone knows."""
    own = {name for name, value in vars(common.errors).items() if _is_error(value)}
    python = {name for name, value in vars(builtins).items() if _is_error(value)}
    return frozenset(CODES) | own | python | frozenset(_OTHER_ERRORS.split())


def _is_error(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


def unknown_in_problem(problem: Problem) -> bool:
    """Tell if a problem says more than a known kind and a log id."""
    return problem.kind not in problem_kinds() or not _LOG_ID.fullmatch(problem.log_id)


def subject_words() -> frozenset[str]:
    """Return the words of refusals' subjects: ours, and those that further rules declare."""
    own = (
        word for rule in RULES.values() for text in rule.subjects for word in _WORD.findall(text)
    )
    return frozenset((*_SUBJECT_WORDS.split(), *own))


def unknown_in_refusals(
    refusals: Sequence[Refusal], request: Any, study: Study, privacy: PrivacySettings
) -> bool:
    """Tell if refusals use a word that neither the rules, the study nor the request has.

    Parameters
    ----------
    privacy : thresholds in force; a refusal must name those of its rule.
    """
    if not refusals:
        return False
    text = study.model_dump_json()
    known = subject_words() | set(_WORD.findall(text)) | _request_words(request)
    letters = set(text) | set(string.printable)
    return len(refusals) > _MOST_REFUSALS or any(
        refusal.rule not in RULES
        or refusal.threshold != in_force(refusal.rule, privacy, "").threshold
        or not set(_WORD.findall(refusal.subject)) <= known
        or not set(refusal.subject) <= letters
        for refusal in refusals
    )


def refusals_of(reply: Any) -> tuple[Refusal, ...]:
    """Return the refusals in a reply."""
    refused = reply.refusals if isinstance(reply, Refused) else ()
    return (*refused, *getattr(reply, "withheld", ()))


def _request_words(request: Any) -> set[str]:
    """Return the words of a request; long texts, such as a study, name nothing a rule is about."""
    found: set[str] = set()

    def walk(item: Any) -> None:
        """Collect every short text of a tree, keys among them."""
        if isinstance(item, str) and len(item) <= _LONGEST_NAME:
            found.update(_WORD.findall(item))
        elif isinstance(item, list):
            for part in item:
                walk(part)
        elif isinstance(item, dict):
            found.update(name for key in item for name in _WORD.findall(key))
            for part in item.values():
                walk(part)

    walk(to_tree(request)[0])
    return found
