"""Layers of Flower's SuperLink that a call passes by where they would only hand it on.

Nine layers lie around every call of the SuperLink. Each takes half a millisecond to hand a call on,
and most concern one kind of calls alone: those of the control interface, of SuperNodes (fleet), or
of the coordinator's own programs (runtime). A layer looks at every call that it may concern, as
Flower has it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flwr.supercore.routers.runtime.tracing import RuntimeTracingMiddleware
from flwr.superlink.routers.control.middlewares import (
    ControlAuthenticationMiddleware,
    ControlEventLogMiddleware,
    ControlLicenseMiddleware,
    ControlSensitiveResponseMiddleware,
)
from flwr.superlink.routers.fleet.middlewares import FleetEventLogMiddleware
from flwr.superlink.routers.fleet.node_auth import NodeAuthMiddleware

from common.flower.seam import check_seam, replaced

FLEET, RUNTIME = "/v1/fleet/", "/v1/runtime/"
"""Beginnings of the paths by which Flower, too, tells the kinds of calls apart."""


def _of_control(scope: Any) -> bool:
    """Return False for the two kinds of calls that are not the control interface's."""
    return not scope["path"].startswith((FLEET, RUNTIME))


def _of_fleet(scope: Any) -> bool:
    return not scope["path"].startswith(RUNTIME)


def _logged(scope: Any) -> bool:
    return _of_fleet(scope) and scope["app"].state.fleet_event_log_plugin is not None


def _traced(scope: Any) -> bool:
    return not scope["path"].startswith(FLEET) and os.getenv("FLWR_TRACING_ENABLED") == "1"


CONCERNS: dict[Any, Callable[[Any], bool]] = {
    ControlSensitiveResponseMiddleware: _of_control,
    ControlAuthenticationMiddleware: _of_control,
    ControlLicenseMiddleware: _of_control,
    ControlEventLogMiddleware: _of_control,
    RuntimeTracingMiddleware: _traced,
    NodeAuthMiddleware: _of_fleet,
    FleetEventLogMiddleware: _logged,
}
"""Calls that each layer may do more with than hand them on."""


@contextmanager
def passed_by() -> Iterator[None]:
    """Let calls pass by the layers that do not concern them while the block lasts.

    Raises
    ------
    StudyError : a layer has a way of its own to take a call up.
    """
    moved = [layer.__name__ for layer in CONCERNS if "__call__" in vars(layer)]
    check_seam("the coordinator", (), where="SuperLink", moved=moved)
    passing = [(one, "__call__", _passing(one.__call__, own)) for one, own in CONCERNS.items()]
    with replaced(passing):
        yield


def _passing(taken_up: Callable[..., Any], concerns: Callable[[Any], bool]) -> Callable[..., Any]:
    async def call(layer: Any, scope: Any, receive: Any, send: Any) -> None:
        """Take a call up, or hand it on."""
        if scope["type"] == "http" and not concerns(scope):
            await layer.app(scope, receive, send)
        else:
            await taken_up(layer, scope, receive, send)

    return call
