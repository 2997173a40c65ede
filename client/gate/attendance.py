"""Tell a hospital's people what their site does in a run: on its screen, and in its standing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from flwr.app import RecordDict

from client.gate.standing import RULE, StandingFile
from client.site import LOG
from common.messages.codec import buffers_of, decode
from common.messages.exchanges import (
    EnrolRequest,
    EvaluateRequest,
    Problem,
    Refused,
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
    standing : kept up to date; None = one in memory alone.
    """

    def __init__(
        self,
        site: str,
        clock: Callable[[], float] = time.monotonic,
        standing: StandingFile | None = None,
    ) -> None:
        self._site, self._clock = site, clock
        self._standing = standing or StandingFile(None)
        self._connected = False
        self._doing: dict[str, str] = {}
        self._ended: set[str] = set()
        # by run: its study, and when it was last asked
        self._evaluated: dict[str, tuple[str, float]] = {}

    def polled(self) -> None:
        """Note that the coordinator was asked for messages, and was there."""
        self._connect()
        self._standing.polled()
        for run, (study, since) in list(self._evaluated.items()):
            if self._clock() - since > QUIET_SECONDS:
                self._finish(run, study)

    def asked(self, request: Any, study: str) -> None:
        """Note a question that was let in."""
        self._connect()
        self._standing.asked(study, enrols=isinstance(request, EnrolRequest))
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

    def stopped(self, code: str, study: str) -> None:
        """Note that the gate let something neither in nor out.

        Parameters
        ----------
        study : that it was about, empty where that is not known.
        """
        self._standing.needs(code, study)

    def answered(
        self, request: Any, study: str, *, last: bool, content: RecordDict | None = None
    ) -> None:
        """Note a reply that left.

        Parameters
        ----------
        content : the reply; None = an error of Flower in its place.
        last : it answers the last question of the run, as far as this site derives that.
        """
        if content is not None:
            self._standing.answered(study, in_place_of_an_answer(content))
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
            self._standing.finished(study)
            self._say(
                f"the study {study} is finished here: every question of run {run} is answered."
                " What left: fedlnm-site ledger show. Ctrl-C ends this command; it may also stay"
                " for the next study"
            )

    def _say(self, words: str) -> None:
        LOG.info("site %s: %s", self._site, words)


def in_place_of_an_answer(content: RecordDict) -> tuple[str, ...]:
    """Return the codes by which a reply says that it is no answer, none where it is one."""
    if buffers_of(content):  # neither of the two has arrays
        return ()
    reply = decode(content)
    if isinstance(reply, Problem):
        return (reply.kind,)
    if isinstance(reply, Refused):
        return tuple(dict.fromkeys(f"{RULE}{one.rule}" for one in reply.refusals))
    return ()
