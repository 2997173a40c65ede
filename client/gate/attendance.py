"""Tell a hospital's people what their site does in a run, in one line a change."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from client.site import LOG
from common.messages.exchanges import (
    EnrolRequest,
    EvaluateRequest,
    RowsRequest,
    SumRequest,
    TrainRequest,
)

QUIET_SECONDS = 60.0
"""Silence after the evaluation, by which a run that this site does not derive has ended."""
_WORKS: dict[type, str] = {
    SumRequest: "answers with sums",
    RowsRequest: "gives its part of the out-of-fold rows",
    EvaluateRequest: "evaluates the final models",
}


class Attendance:
    """State of a site's connection and runs, for its screen.

    Parameters
    ----------
    site : its name.
    clock : returns seconds.
    """

    def __init__(self, site: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._site, self._clock = site, clock
        self._connected = False
        self._doing: dict[str, str] = {}
        self._ended: set[str] = set()
        # by run: its study, and when it was last asked
        self._evaluated: dict[str, tuple[str, float]] = {}

    def polled(self) -> None:
        """Note that the coordinator was asked for messages, and was there."""
        self._connect()
        for run, (study, since) in list(self._evaluated.items()):
            if self._clock() - since > QUIET_SECONDS:
                self._finish(run, study)

    def asked(self, request: Any, study: str) -> None:
        """Note a question that was let in."""
        self._connect()
        run, what = request.run, _WORKS.get(type(request), "")
        if isinstance(request, EnrolRequest):
            what = f"takes part in the study {study}"
        elif isinstance(request, TrainRequest):
            what = f"trains {request.network}, {request.variant}"
        if what and what != self._doing.get(run):
            self._doing[run] = what
            self._say(f"run {run}: {what}")
        if run in self._evaluated:
            self._evaluated[run] = (study, self._clock())

    def answered(self, request: Any, study: str, *, last: bool) -> None:
        """Note a reply that left.

        Parameters
        ----------
        last : it answers the last question of the run, as far as this site derives that.
        """
        if last:
            self._finish(request.run, study)
        elif isinstance(request, EvaluateRequest) and request.run not in self._ended:
            self._evaluated[request.run] = (study, self._clock())

    def _connect(self) -> None:
        if not self._connected:
            self._connected = True
            self._say("connected to the coordinator; waiting for questions of approved studies")

    def _finish(self, run: str, study: str) -> None:
        self._evaluated.pop(run, None)
        self._doing.pop(run, None)
        if run not in self._ended:
            self._ended.add(run)
            self._say(
                f"the study {study} is finished here: every question of run {run} is answered."
                " What left: fedlnm-site ledger show. Ctrl-C ends this command; it may also stay"
                " for the next study"
            )

    def _say(self, words: str) -> None:
        LOG.info("site %s: %s", self._site, words)
