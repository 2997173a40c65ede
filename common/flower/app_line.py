"""Line of an app's process to its SuperNode, kept open from message to message.

Flower starts a program for every message, which connects, unpacks the app, answers and ends. Here
one process takes up message after message by the same calls, with the same token for each.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any

import httpx
from flwr.app import Context, Error, Message
from flwr.common.constant import ErrorCode, SubStatus
from flwr.supercore.app_utils import start_parent_process_monitor
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor, RuntimeVersionHttpInterceptor
from flwr.supercore.logger import FLOWER_LOGGER
from flwr.supercore.retry import make_simple_http_retry_invoker
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flwr.clientapp import ClientApp

# a SuperNode takes an app that is silent for half a minute for dead; most answer sooner than this
FIRST_BEAT_SECONDS = 5.0


class _Token:
    """Token of the message that is being answered, in every call."""

    token = ""

    def intercept(self, context: Any, call_next: Any) -> httpx.Response:
        """Add it to a call."""
        return RuntimeTokenHttpInterceptor(self.token).intercept(context, call_next)


class AppLine:
    """Line to the SuperNode.

    Parameters
    ----------
    address : host:port of the SuperNode.
    certificate : file with the only certificate that is taken for it.
    parent : id of the process without which this one ends.
    """

    def __init__(self, address: str, certificate: Path, parent: int) -> None:
        start_parent_process_monitor(parent)
        self._token = _Token()
        self._client = RuntimeHttpClient.from_server_address(
            server_address=address,
            insecure=False,
            root_certificates=certificate.read_bytes(),
            interceptors=[RuntimeVersionHttpInterceptor("flwr-clientapp"), self._token],
            retry_invoker=make_simple_http_retry_invoker(),
        )

    def answer(self, token: str, app: ClientApp) -> None:
        """Take up the message of a token, and hand over the app's reply.

        An app that fails is answered for, as in Flower, by an error with its text, which the gate
        keeps to itself.
        """
        self._token.token = token
        context: Context | None = None
        status, details = SubStatus.FAILED, "the app did not come to answer"
        try:
            with self._heartbeat():
                message, context, _, _ = pull_task_input(self._client)
                reply, status, details = _reply(app, message, context)
                push_message(self._client, reply, context)
        except Exception:
            status = SubStatus.FAILED
            FLOWER_LOGGER.exception("a message was not answered")
        finally:
            push_task_output(self._client, context, status, details)

    @contextmanager
    def _heartbeat(self) -> Iterator[None]:
        """Tell the SuperNode that the app is alive, if it answers for long."""
        sender = HeartbeatSender(make_task_heartbeat_fn_http(self._client))
        first = Timer(FIRST_BEAT_SECONDS, sender.start)
        first.daemon = True
        first.start()
        try:
            yield
        finally:
            first.cancel()
            first.join()
            with suppress(RuntimeError):  # it never started
                sender.stop()


def _reply(app: ClientApp, message: Message, context: Context) -> tuple[Message, str, str]:
    """Return the app's reply with the state of its task."""
    try:
        return app(message=message, context=context), SubStatus.COMPLETED, ""
    except Exception as error:
        FLOWER_LOGGER.exception("the app failed")
        reason = f"{type(error)}:<'{error}'>"
        failed = Error(code=ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason=reason)
        return Message(failed, reply_to=message), SubStatus.FAILED, reason
