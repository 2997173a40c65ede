"""Judge whether a reply may leave, from the request and the catalogue alone.

What the gate lets out is not what an app handed over but the gate's own encoding of what it read
there, so that nothing can hide between the fields. It cannot tell a masked sum from a made-up one;
no code but the installed release makes any (`client.gate.supernode`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flwr.app import RecordDict
from pydantic import ValidationError

from client.gate import reply_checks
from client.gate.schema import GateContext, StoppedError, conform, expect
from client.gate.vocabulary import CODES, refusals_of, unknown_in_problem, unknown_in_refusals
from common.errors import StudyError
from common.messages.codec import decode, decode_once, encode
from common.messages.exchanges import CATALOGUE, REPLIES_IN_PLACE, EnrolRequest, Problem, answers
from common.study.model import Study


@dataclass(frozen=True)
class Verdict:
    """Decision about a reply: an empty code and what may leave, or a code and plain words.

    Parameters
    ----------
    content : the gate's own encoding of the reply that it read.
    """

    code: str
    words: str
    content: RecordDict | None = None

    @property
    def passed(self) -> bool:
        """Tell if the reply may leave."""
        return not self.code


def read_request(exchange: str, content: RecordDict) -> Any:
    """Return the request of a message.

    Raises
    ------
    StoppedError : not in the catalogue, or not the request that this exchange has.
    """
    expect(exchange in CATALOGUE, "unknown_exchange", "the kind of message is not known")
    try:
        request = decode_once(content)
    except Exception as error:  # whatever the other side wrote, nothing happens
        raise StoppedError("request_unreadable", type(error).__name__) from None
    wanted = CATALOGUE[exchange].request
    expect(type(request) is wanted, "request_unreadable", f"the request is not a {wanted.__name__}")
    texts = isinstance(request.run, str) and isinstance(request.study, str)
    expect(texts, "request_unreadable", "the request names no run or no study")
    return request


def approved_study(
    request: Any, site: str, approved: frozenset[str] | None, recall: Callable[[str], Study]
) -> Study:
    """Return the study that a request is about, if this site has approved it.

    Parameters
    ----------
    approved : digests; None = any study, in a simulation.
    recall : the study of a digest, among those this site was shown.

    Raises
    ------
    StoppedError : not approved, unknown, with another digest than stated, or without this site.
    """
    if approved is not None and request.study not in approved:
        raise StoppedError(
            "study_not_approved", f"study {request.study[:12]!r} is not approved here"
        )
    try:
        if isinstance(request, EnrolRequest):
            study = Study.model_validate_json(request.study_json)
        else:
            study = recall(request.study)
    except (ValidationError, StudyError, OSError) as error:
        raise StoppedError("study_unknown", f"the study cannot be read: {error}") from None
    expect(study.digest() == request.study, "study_unknown", "the study has another digest")
    expect(site in study.site_names, "not_on_roster", f"the study has no site {site}")
    return study


def inspect(exchange: str, request: Any, content: RecordDict, context: GateContext) -> Verdict:
    """Judge a reply.

    Parameters
    ----------
    request : what was asked; None when nothing was.
    content : the reply as the app handed it over.
    """
    try:
        expect(request is not None, "not_asked", CODES["not_asked"])
        expect(exchange in CATALOGUE, "unknown_exchange", CODES["unknown_exchange"])
        reply, canonical = _decoded(content)
        _check_kind(exchange, reply)
        conform(reply, type(reply), type(reply).__name__)
        _check_words(request, reply, context)
        if not isinstance(reply, REPLIES_IN_PLACE):
            CHECKS[exchange](request, reply, context)
            own = answers(request, reply, context.site)
            expect(own, "other_question", CODES["other_question"])
    except StoppedError as stop:
        return Verdict(stop.code, stop.what)
    except Exception as error:  # what the gate cannot judge does not leave
        return Verdict("gate_failed", f"{type(error).__name__}: {error}")
    return Verdict("", "", canonical)


def _decoded(content: RecordDict) -> tuple[Any, RecordDict]:
    try:
        reply = decode(content)
        canonical = encode(reply)
    except Exception as error:
        raise StoppedError(
            "undecodable", f"{CODES['undecodable']}: {type(error).__name__}"
        ) from None
    expect(same_record(content, canonical), "extra_content", CODES["extra_content"])
    return reply, canonical


def same_record(left: RecordDict, right: RecordDict) -> bool:
    """Tell if two records are the same to the byte: keys, texts, layouts, numbers."""
    if list(left) != list(right):
        return False
    for name, record in left.items():
        other = right[name]
        if type(record) is not type(other) or list(record) != list(other):
            return False
        if any(part != other[key] for key, part in record.items()):
            return False
    return True


def _check_kind(exchange: str, reply: Any) -> None:
    allowed = (CATALOGUE[exchange].reply, *REPLIES_IN_PLACE)
    expect(type(reply) in allowed, "wrong_reply", CODES["wrong_reply"])


def _check_words(request: Any, reply: Any, context: GateContext) -> None:
    if isinstance(reply, REPLIES_IN_PLACE):
        expect(reply.site in ("", context.site), "other_question", CODES["other_question"])
    if isinstance(reply, Problem):
        expect(not unknown_in_problem(reply), "text", "a problem of an unknown kind")
    unknown = unknown_in_refusals(refusals_of(reply), request, context.study, context.privacy)
    expect(not unknown, "text", "a refusal with words that are no rule's")


CHECKS: dict[str, Callable[[Any, Any, GateContext], None]] = {
    "query.enrol": reply_checks.enrol,
    "query.sum": reply_checks.sums,
    "train.network": reply_checks.train,
    "query.rows": reply_checks.rows,
    "evaluate.handout": reply_checks.evaluate,
}
