"""ClientApp: one handler an exchange, errors scrubbed before they leave."""

from __future__ import annotations

import secrets
import sys
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from threadpoolctl import ThreadpoolController

from client import handlers
from client.check.first_pass import first_pass
from client.gate.site_gate import gate_mod
from client.gate.site_log import ERRORS_LOG
from client.site import LOG, SiteSettings, load_site, locate_site
from client.store.releases import Releases
from client.store.site_db import recall_study, remember_study
from client.workspace import Workspace, open_workspace, when_written
from common.disclosure.rule import BrokenRuleError, once, refusal_words
from common.errors import StudyError
from common.messages.codec import decode_once, encode
from common.messages.exchanges import (
    CATALOGUE,
    NOBODY,
    EnrolRequest,
    Problem,
    Refused,
    TrainRequest,
)
from common.messages.problems import problem_code
from common.study.model import Study
from common.utils.durable import append_durably, open_folder
from common.utils.text_file import escaped

# outermost: a handler's replies pass the same checks as in a deployment
app = ClientApp(mods=[gate_mod])


HANDLERS = {
    "query.enrol": "enrol",
    "query.key": "share_key",
    "query.agree": "agree",
    "query.follow": "follow",
    "query.sum": "answer_sums",
    "train.network": "train",
    "query.sign": "sign",
    "query.open": "open_sum",
    "query.rows": "rows",
    "evaluate.handout": "evaluate",
}
"""Function of `client.handlers` that answers each exchange."""
Handler = Callable[..., Any]


def answer(message: Message, context: Context) -> Message:
    """Decode, open the workspace, compute on a fixed number of threads, encode.

    Errors appear on the site's own screen and log; the server gets their kind and the log's id
    only, because an error's text can carry a patient's name.
    """
    settings: SiteSettings | None = None
    kind = message.metadata.message_type
    try:
        path = locate_site(context.node_config, context.run_config)
        if not path.name:  # a simulated node beyond the study's sites
            return Message(encode(NOBODY), reply_to=message)
        settings = load_site(path)
        open_folder(settings.work)
        request = decode_once(message.content)
        handler: Handler = getattr(handlers, HANDLERS[kind])
        if not isinstance(request, CATALOGUE[kind].request):
            raise StudyError("the request is not the one this exchange has", where="request")
        if isinstance(request, EnrolRequest):
            _remember(request, settings)
        with _libraries(len(sys.modules)).limit(limits=settings.threads):
            early = _refused_early(settings, request)
            if early is None:
                written = when_written(path, settings)
                workspace = open_workspace(path, request.study, request.run, written)
                workspace.follow_dealing()
                if isinstance(request, TrainRequest):
                    request = workspace.derived.completed(request)
                content = _release(workspace, kind, request, handler)
            else:
                content = early
    except Exception as error:  # the scrub: none of the text may leave
        content = encode(_scrub(error, settings))
    return Message(content, reply_to=message)


for _exchange in HANDLERS:
    _kind, _action = _exchange.split(".")
    getattr(app, _kind)(_action)(answer)


@lru_cache(maxsize=1)
def _libraries(modules: int) -> ThreadpoolController:
    """Return the libraries with threads of their own, cached: finding them outlasts a small answer.

    Parameters
    ----------
    modules : number of loaded modules: a library comes with new ones.
    """
    return ThreadpoolController()


def _remember(request: EnrolRequest, settings: SiteSettings) -> None:
    study = Study.model_validate_json(request.study_json)
    if study.digest() != request.study:
        raise StudyError("the study does not have the digest it came with", where="study")
    remember_study(settings.work, study)


def _refused_early(settings: SiteSettings, request: Any) -> RecordDict | None:
    """Refuse by counts alone before the images are prepared, which may take hours.

    Returns None where nothing is refused so far, or the site cannot take part for other reasons.
    """
    if not isinstance(request, EnrolRequest):
        return None
    study = recall_study(settings.work, request.study)
    if not study.needs_images:
        return None
    found = first_pass(settings, study)
    if found.cohort is None or found.reasons or not found.foreseen.stops:
        return None
    releases = Releases(settings, study, request.run, found.cohort)
    stops = once((*found.foreseen.stops, *releases.refusals("query.enrol", request)))
    refused = Refused(refusals=stops, withheld=found.foreseen.withheld)
    return _leave(releases, settings.name, "query.enrol", request, refused)


def _release(workspace: Workspace, kind: str, request: Any, handler: Handler) -> RecordDict:
    """Reserve, compute, and record in the ledger what leaves; refuse what earlier releases forbid.

    A failure is recorded like a refusal: its occurrence can reveal something about the numbers. At
    enrolment the handler itself checks earlier releases, so that one answer reports everything.
    """
    enrols = isinstance(request, EnrolRequest)
    reserved = nullcontext(()) if enrols else workspace.releases.reserve(kind, request)
    with reserved as refusals:
        reply: Any
        try:
            workspace.masks.recognise(getattr(request, "keys", ()))
            reply = Refused(refusals=refusals) if refusals else handler(workspace, request)
            return _leave(workspace.releases, workspace.name, kind, request, reply)
        except BrokenRuleError as broken:
            reply = Refused(refusals=broken.refusals)
        except Exception as error:
            reply = _scrub(error, workspace.settings)
        return _leave(workspace.releases, workspace.name, kind, request, reply)


def _leave(releases: Releases, site: str, kind: str, request: Any, reply: Any) -> RecordDict:
    """Remember a reply and write it into the ledger; show a refusal on the site's screen too."""
    if isinstance(reply, Refused):
        reply = replace(reply, site=site)
        for one in reply.refusals:
            LOG.warning(
                "site %s refuses %s: %s",
                *(site, kind, refusal_words(one)),
            )
    content = encode(reply)
    if refusals := releases.record(kind, request, reply, content):
        return _leave(releases, site, kind, request, Refused(refusals=refusals))
    return content


def _scrub(error: Exception, settings: SiteSettings | None) -> Problem:
    log_id = secrets.token_hex(4)
    name = settings.name if settings else "(unknown)"
    words = error if isinstance(error, StudyError) else f"{type(error).__name__}: {error}"
    LOG.error("site %s: %s [log %s]", name, words, log_id)
    if settings is not None:
        trace = "".join(traceback.format_exception(error))
        words = escaped(f"{datetime.now(UTC).isoformat()} {log_id}\n{trace}\n")
        append_durably(settings.work / ERRORS_LOG, words.encode())
    return Problem(kind=problem_code(error), log_id=log_id, site=settings.name if settings else "")
