"""Gate as the outermost mod of the ClientApp: the same checks in every engine.

It runs in the app's own process; the gate in front of that process is `client.gate.supernode`.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable

from flwr.app import Context, Message, RecordDict

from client.gate.inspect import same_record
from client.gate.schema import StoppedError
from client.gate.site_gate import AdmittedRequest, SiteGate
from client.site import load_site, locate_site
from common.errors import StudyError
from common.messages.codec import encode
from common.messages.exchanges import NOBODY, Problem

Call = Callable[[Message, Context], Message]


def gate_mod(message: Message, context: Context, call_next: Call) -> Message:
    """Ask the app only what this site has approved; let out only what the catalogue declares."""
    try:
        path = locate_site(context.node_config, context.run_config)
        gate = SiteGate(load_site(path)) if path.name else None
    except (StudyError, OSError):
        return Message(_problem("study_unknown"), reply_to=message)
    if gate is None:  # a simulated node beyond the study's sites
        reply, nobody = call_next(message, context), encode(NOBODY)
        same = reply.has_content() and same_record(reply.content, nobody)
        return Message(nobody if same else _problem("not_on_roster"), reply_to=message)
    exchange = message.metadata.message_type
    try:
        asked = gate.admit(exchange, message.content)
    except Exception as error:  # a gate that fails is closed
        return Message(gate.stop(error, AdmittedRequest(exchange)), reply_to=message)
    try:
        reply = call_next(message, context)
    except Exception as error:  # Flower would send the text
        stop = StoppedError("app_failed", "".join(traceback.format_exception(error)))
        return Message(gate.stop(stop, asked), reply_to=message)
    if reply.has_error():
        return Message(gate.scrubbed(reply.error, exchange), reply_to=message)
    content = gate.release(asked, reply.content)
    if gate.settings.deployment is None:  # there, the gate in front of this process signs
        content = gate.receipted(asked, content)
    return Message(content, reply_to=message)


def _problem(code: str) -> RecordDict:
    """Return a problem of a node without a site: there is no log to write to."""
    return encode(Problem(kind=code, log_id="0" * 8))
