"""Let enrolled hospitals see where a run is, each by a ticket that it signs, and nobody else.

The page is served on loopback while `fedlnm-server run` runs, and the proxy passes it on. It says
which phase a study is in and who is waited for; no count, loss, refusal or text of an error.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from common.errors import UsageError
from common.masking import identity
from common.messages.status_ticket import PATH, Doorkeeper
from common.utils.loopback_pages import LoopbackServer, Page, Request
from server.deployment.folder import CoordinatorFolder
from server.deployment.roster import read_roster
from server.deployment.run_folder import RunFolder
from server.live.snapshot import LiveRun, of_deployment
from server.progress.screen import PHASES

NOT_FOR_YOU = Page("not for you\n", status=HTTPStatus.FORBIDDEN)
_OF_RUN = ("run", "study", "state", "begun", "number", "phases", "rounds_done", "rounds_planned")


def told_to_hospitals(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what hospitals may see of the facts of `LiveRun.read`."""
    begun = facts["state"] == "under way"
    return {
        **{name: facts[name] for name in _OF_RUN},
        "now": facts["now"],
        "phase": PHASES.get(facts["phase"], facts["phase"]),
        "done": facts["fraction"],
        "seconds_left": facts["seconds_left"],
        "waits_for": [
            {"site": name, "since": one["waited_for_since"], "connected": _is_online(facts, name)}
            for name, one in facts["sites"].items()
            if begun and (one["waited_for_since"] is not None or not one["enrolled"])
        ],
    }


def _is_online(facts: Mapping[str, Any], site: str) -> bool:
    return bool(facts["connections"].get(site) == "online")


class StatusPage:
    """Page of the runs that one coordinator keeps going.

    Parameters
    ----------
    runs : each with the hospitals of its study.
    """

    def __init__(self, keeper: Doorkeeper, runs: Sequence[tuple[tuple[str, ...], LiveRun]]) -> None:
        self._keeper, self._runs = keeper, runs

    def __call__(self, request: Request) -> Page:
        """Answer a hospital with the runs that it takes part in, and anybody else in few words."""
        site = self._keeper.admit(request.one("Authorization"))
        if site is None:
            return NOT_FOR_YOU
        own = [told_to_hospitals(run.read()) for sites, run in self._runs if site in sites]
        return Page(json.dumps({"runs": own}, allow_nan=False), "application/json")


class _Server(LoopbackServer):
    def failure(self, error: Exception) -> str:
        """Say nothing of the error to whoever asks from outside."""
        return "not at the moment"


@contextmanager
def shown_to_hospitals(
    folder: CoordinatorFolder, runs: Sequence[RunFolder], say: Callable[[str], None]
) -> Iterator[None]:
    """Serve the page while the block lasts, if coordinator.toml names a port for it.

    A port that somebody else has is said, and keeps no study from running.
    """
    port = folder.settings().status_port
    if not port:
        yield
        return
    public = identity.load(folder.identity).private.public_key()
    keeper = Doorkeeper(
        identity.public_text(public),
        lambda: read_roster(folder.roster, public).identity_keys,
        folder.tickets,
    )
    page = StatusPage(keeper, [(run.study.site_names, of_deployment(folder, run)) for run in runs])
    try:
        server = _Server({PATH: page}, port, where="coordinator.toml, status_port")
    except UsageError as error:
        say(f"hospitals cannot see how the run stands: {error}")
        yield
        return
    with server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
