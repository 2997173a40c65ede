"""A site's standing: whether it is connected, takes part, or waits for its own people.

It lies in a file of the work folder, from which `fedlnm-site run` makes notices and numbers that
may leave the hospital by ways of its own. So it holds times, codes and rules of this release, and
names of studies that are approved here: no number, text or name that a patient, an app or the
coordinator could have chosen.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

FILE = "standing.json"
WRITE_SECONDS = 5.0
"""Time between two notes that the coordinator was there and had nothing new."""
PASSES_BY_ITSELF = frozenset({"restarted", "overtaken"})
RULE = "rule "
"""Begins the code of a rule that refused."""


@dataclass(frozen=True)
class Need:
    """Reason for which a run waits for this hospital's people.

    Parameters
    ----------
    code : of the gate, of a problem, or `RULE` with a rule's name.
    study : approved here that it is about; empty where it is about none, or that is not known.
    since : seconds since the epoch.
    """

    code: str
    study: str
    since: float


@dataclass(frozen=True)
class Standing:
    """Standing of a site; times are seconds since the epoch, 0 = never.

    Parameters
    ----------
    polled : when the coordinator was there last.
    asked, answered : when the last question was let in, and the last reply left.
    under_way : approved studies of which runs go on, and when each was asked of last.
    finished : those of which every question was answered, and when.
    """

    polled: float = 0.0
    asked: float = 0.0
    answered: float = 0.0
    under_way: dict[str, float] | None = None
    finished: dict[str, float] | None = None
    needs: tuple[Need, ...] = ()

    @property
    def running(self) -> dict[str, float]:
        """Studies under way."""
        return self.under_way or {}

    @property
    def ended(self) -> dict[str, float]:
        """Studies that are finished."""
        return self.finished or {}


_FORM = TypeAdapter(Standing)


def read_standing(work: Path) -> Standing:
    """Return the standing in a work folder; an empty one where none can be read."""
    try:
        return _FORM.validate_json((work / FILE).read_bytes())
    except (OSError, ValidationError):
        return Standing()


class StandingFile:
    """Standing of a site, kept in its file by the one program that talks to the coordinator.

    A disk that is full must stop no answer, so a file that cannot be written stays as it is.

    Parameters
    ----------
    work : folder; None = it is kept in memory alone.
    clock : returns seconds since the epoch.
    """

    def __init__(self, work: Path | None, clock: Callable[[], float] = time.time) -> None:
        self._work, self._clock, self._lock = work, clock, threading.RLock()
        self.now = read_standing(work) if work else Standing()

    def polled(self) -> None:
        """Note that the coordinator is there."""
        with self._lock:
            if self._clock() - self.now.polled >= WRITE_SECONDS:
                self._change(polled=self._clock())

    def asked(self, study: str, *, enrols: bool) -> None:
        """Note a question that was let in; a run that begins takes needs of no study away."""
        with self._lock:
            now = self._clock()
            needs = tuple(one for one in self.now.needs if one.study or not enrols)
            ended = {name: when for name, when in self.now.ended.items() if name != study}
            running = {**self.now.running, study: now}
            self._change(asked=now, needs=needs, under_way=running, finished=ended)

    def answered(self, study: str, codes: tuple[str, ...]) -> None:
        """Note a reply that left.

        Parameters
        ----------
        codes : by which it says that it is no answer; none of an answer.
        """
        with self._lock:
            if codes:
                for code in codes:
                    self.needs(code, study)
                return
            needs = tuple(one for one in self.now.needs if one.study != study)
            self._change(answered=self._clock(), needs=needs)

    def finished(self, study: str) -> None:
        """Note that every question of a run was answered."""
        with self._lock:
            running = {name: when for name, when in self.now.running.items() if name != study}
            self._change(under_way=running, finished={**self.now.ended, study: self._clock()})

    def needs(self, code: str, study: str = "") -> None:
        """Note that something was not answered, and needs this hospital's people."""
        with self._lock:
            known = {(one.code, one.study) for one in self.now.needs}
            if code not in PASSES_BY_ITSELF and (code, study) not in known:
                self._change(needs=(*self.now.needs, Need(code, study, self._clock())))

    def _change(self, **values: Any) -> None:
        self.now = replace(self.now, **values)
        if self._work is None:
            return
        part = self._work / f"{FILE}.part"
        try:
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(_FORM.dump_json(self.now))
            part.replace(self._work / FILE)
        except OSError:
            part.unlink(missing_ok=True)
