"""Layers of the SuperLink: passed by where they hand a call on, there for all that they judge."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from flwr.superlink.main import create_app
from flwr.superlink.routers.fleet.node_auth import NodeAuthMiddleware
from starlette.middleware.base import BaseHTTPMiddleware

from common.errors import StudyError
from common.flower.superlink import CONCERNS, passed_by

CALLS = (
    "/v1/fleet/pull-messages",
    "/v1/fleet/push-object",
    "/v1/fleet/unknown",
    "/v1/fleet/../control/start-run",
    "/v1/runtime/pull-messages",
    "/v1/runtime/acquire-task",
    "/v1/control/start-run",
    "/v1/control/stop-run",
    "/v1/control/get-login-details",
    "/v1/unknown",
    "/health",
)


def answered(app: Any, path: str, content: bytes = b"") -> tuple[int, list[Any], bytes]:
    """Send a call through all layers of an app; status, headers, content."""
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: Any) -> None:
        said.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"content-type", b"application/protobuf")],
        "scheme": "http",
        "server": ("127.0.0.1", 1),
        "client": ("127.0.0.1", 2),
        "http_version": "1.1",
        "root_path": "",
    }
    asyncio.run(app(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in said)
    return said[0]["status"], sorted(said[0]["headers"]), body


def hands_on(layer: Any, path: str, app: Any) -> bool:
    """Return whether a layer hands a call on without looking at it."""
    looked: list[str] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    made = layer(inner)
    honest = made.dispatch_func

    async def dispatch(request: Any, call_next: Any) -> Any:
        looked.append(path)
        return await honest(request, call_next)

    made.dispatch_func = dispatch

    async def with_state(scope: Any, receive: Any, send: Any) -> None:
        await made({**scope, "app": app, "state": {}}, receive, send)

    status, _, _ = answered(with_state, path)
    assert status == 200
    return not looked


@pytest.mark.parametrize("path", CALLS)
def test_every_call_is_answered_as_flower_answers_it(path: str) -> None:
    with_all = answered(create_app(), path)
    with passed_by():
        assert answered(create_app(), path) == with_all


def test_calls_pass_by_the_layers_of_the_other_kinds_and_by_no_other() -> None:
    app, passed = create_app(), {}
    with passed_by():
        for path in ("/v1/fleet/pull-messages", "/v1/runtime/pull-messages"):
            passed[path] = {one.__name__ for one in CONCERNS if hands_on(one, path, app)}
    every = {one.__name__ for one in CONCERNS}
    assert passed == {
        "/v1/fleet/pull-messages": every - {NodeAuthMiddleware.__name__},
        "/v1/runtime/pull-messages": every,
    }


def test_a_log_of_events_and_traces_is_written_where_it_is_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLWR_TRACING_ENABLED", "1")
    scope: dict[str, Any] = {"path": "/v1/fleet/x", "app": create_app()}
    scope["app"].state.fleet_event_log_plugin = object()
    names = {one.__name__ for one, concerns in CONCERNS.items() if concerns(scope)}
    assert names == {"NodeAuthMiddleware", "FleetEventLogMiddleware"}
    names = {n.__name__ for n, concerns in CONCERNS.items() if concerns({"path": "/v1/runtime/x"})}
    assert names == {"RuntimeTracingMiddleware"}


@pytest.mark.parametrize("path", ["/v1/control/start-run", "/v2/fleet/x", "/v1/fleetx", "/docs"])
def test_whatever_is_no_call_of_the_two_kinds_goes_through_the_layers_of_control(path: str) -> None:
    assert all(
        concerns({"path": path})
        for layer, concerns in CONCERNS.items()
        if layer.__name__.startswith("Control")
    )


def test_the_layers_are_back_in_the_end_and_a_moved_one_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with passed_by():
        assert NodeAuthMiddleware.__call__ is not BaseHTTPMiddleware.__call__
    assert NodeAuthMiddleware.__call__ is BaseHTTPMiddleware.__call__
    monkeypatch.setattr(NodeAuthMiddleware, "__call__", BaseHTTPMiddleware.__call__)
    with pytest.raises(StudyError, match="NodeAuthMiddleware"), passed_by():
        pass
