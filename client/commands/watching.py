"""Notices and numbers about a site for its own people, by mail, chat or webhook, and on loopback.

Both hold what is in the site's standing (`client.gate.standing`), so nothing of a patient.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import typer

from client.commands.approve import SiteOption, settings_of
from client.gate.schema import CODES, CURES
from client.gate.standing import RULE, Need, Standing, read_standing
from client.site import LOG, SiteSettings
from common.messages.problems import PROBLEMS
from common.study.release_mark import own_release
from common.utils.console import consoles
from common.utils.loopback_pages import (
    CONTENT_TYPE,
    Labels,
    LoopbackServer,
    Metric,
    Page,
    Request,
    exposition,
)
from common.utils.notices import Outbox, Post, read_addresses, try_addresses

PREFIX = "fedlnm_site_"
STATES = ("waits", "connected", "takes part", "not connected", "needs you")
WELL = ("waits", "connected", "takes part")
THERE_SECONDS = 60.0
"""Time since the coordinator was there last, after which a site is not connected."""
FORGOTTEN_SECONDS = 2 * 86400.0
"""Time without a question after which a run no longer counts as under way."""
_APPROVALS = ("study_unknown", "study_not_approved", "not_on_roster")
_DOCTOR = "More is said by fedlnm-site doctor, and on the site's screen."


@dataclass(frozen=True)
class Facts:
    """Facts about a site at one time.

    Parameters
    ----------
    restarts : of its program that talks to the coordinator.
    now : seconds since the epoch.
    """

    site: str
    standing: Standing
    restarts: int
    now: float

    @property
    def is_connected(self) -> bool:
        """True if the coordinator was there within the last minute."""
        return self.now - self.standing.polled < THERE_SECONDS

    @property
    def under_way(self) -> tuple[str, ...]:
        """Studies of which runs go on."""
        recent = self.now - FORGOTTEN_SECONDS
        return tuple(name for name, when in self.standing.running.items() if when > recent)

    @property
    def state(self) -> str:
        """One of `STATES`."""
        if self.standing.needs:
            return "needs you"
        if not self.is_connected:
            return "not connected" if self.under_way else "waits"
        return "takes part" if self.under_way else "connected"


def post_of(settings: SiteSettings) -> Post | None:
    """Return where this site's notices go to, None where it wants none."""
    path = settings.watch.notices
    addresses = read_addresses(path) if path is not None else {}
    return Post(addresses) if addresses else None


class SiteNotices:
    """Notices: something waits for this hospital, a study is finished, or the site has stopped.

    Parameters
    ----------
    patience : seconds without the coordinator, while a run goes on, before a notice says so.
    begin : facts at the start, of which nothing is said again.
    """

    def __init__(self, outbox: Outbox, patience: float, begin: Facts) -> None:
        self._outbox, self._patience, self._site = outbox, patience, begin.site
        self._needs, self._ended = set[Need](), dict(begin.standing.ended)
        self._since, self._away = begin.now, False

    def look(self, facts: Facts) -> None:
        """Say what is new."""
        standing = facts.standing
        for need in set(standing.needs) - self._needs:
            self._put(*words_of(need))
        self._needs = set(standing.needs)
        for study, when in standing.ended.items():
            if self._ended.get(study) != when:
                self._put(f"study {study} is finished", "Every question of its run is answered.")
        self._ended = dict(standing.ended)
        if facts.is_connected:
            self._since, self._away = facts.now, False
        elif facts.under_way and facts.now - self._since >= self._patience and not self._away:
            self._away = True
            self._put("is not connected to the coordinator, and a run goes on", _DOCTOR)

    def stopped(self) -> None:
        """Say that the site takes part no more, though nobody ended it."""
        self._put("has stopped taking part", _DOCTOR)

    def _put(self, what: str, text: str) -> None:
        self._outbox.put(f"fedlnm: hospital {self._site}: {what}", f"{self._site}: {what}. {text}")


def words_of(need: Need) -> tuple[str, str]:
    """Return what a run waits for, and what to do; in words of this release alone.

    >>> words_of(Need("rule min_rows", "larynx", 0.0))[0]
    'rule min_rows refuses, in study larynx'
    """
    about = f", in study {need.study}" if need.study else ""
    if need.code.startswith(RULE):
        text = "Decide with the coordinator, who sees which rules refuse and what would help."
        return f"{need.code} refuses{about}", text
    meaning = CODES.get(need.code) or PROBLEMS.get(need.code, need.code)
    cure = f" -> {CURES[need.code]}" if need.code in CURES else ""
    text = f"Reason: {meaning} ({need.code}){cure}. {_DOCTOR}"
    if need.code in _APPROVALS:
        return "an approval is missing", text
    if need.code in PROBLEMS:
        return f"cannot answer{about}", text
    return f"something was stopped here{about}", text


def numbers(facts: Facts) -> str:
    """Write the facts for Prometheus."""
    own: Labels = {"site": facts.site}
    standing = facts.standing

    def by_study(name: str, words: str, when: dict[str, float]) -> Metric:
        values = [({**own, "study": study}, seconds) for study, seconds in when.items()]
        return Metric(f"{PREFIX}{name}_timestamp_seconds", "gauge", words, values)

    states = [({**own, "state": state}, float(facts.state == state)) for state in STATES]
    times = (
        ("last_seen", "Time at which the coordinator was there last.", standing.polled),
        ("last_question", "Time of the last question that was let in.", standing.asked),
        ("last_reply", "Time of the last answer that left.", standing.answered),
    )
    needs = [({**own, "code": one.code, "study": one.study}, one.since) for one in standing.needs]
    return exposition(
        (
            Metric(
                f"{PREFIX}release_info",
                "gauge",
                "1, of the release that is installed.",
                [({**own, "release": own_release()}, 1.0)],
            ),
            Metric(f"{PREFIX}state", "gauge", "1 for the state that the site is in.", states),
            *(
                Metric(f"{PREFIX}{name}_timestamp_seconds", "gauge", words, [(own, when or None)])
                for name, words, when in times
            ),
            by_study("study_asked", "Time of its last question, of a run.", standing.running),
            by_study("study_finished", "Time of its end, of a run.", standing.ended),
            Metric(
                f"{PREFIX}needs_you_timestamp_seconds",
                "gauge",
                "Time since which something waits for this hospital.",
                needs,
            ),
            Metric(
                f"{PREFIX}restarts_total",
                "counter",
                "Starts of the site's program after it had ended.",
                [(own, float(facts.restarts))],
            ),
        )
    )


class Watch:
    """Watch over a site that takes part.

    Parameters
    ----------
    outbox : that notices are put into.
    """

    def __init__(
        self, settings: SiteSettings, outbox: Outbox, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings, self._clock, self.restarts = settings, clock, 0
        patience = 60.0 * settings.watch.notice_minutes
        self.notices = SiteNotices(outbox, patience, self.facts())

    def facts(self) -> Facts:
        """Return the facts as they are now."""
        standing = read_standing(self._settings.work)
        return Facts(self._settings.name, standing, self.restarts, self._clock())

    def look(self) -> None:
        """Send notices of what is new."""
        self.notices.look(self.facts())

    def health(self, _: Request) -> Page:
        """Answer 200 while all goes well, also where nothing is to be done, and else 503."""
        state = self.facts().state
        status = HTTPStatus.OK if state in WELL else HTTPStatus.SERVICE_UNAVAILABLE
        return Page(f"{state}\n", status=status)

    def metrics(self, _: Request) -> Page:
        """Answer with the numbers."""
        return Page(numbers(self.facts()), CONTENT_TYPE)


@contextmanager
def watched(settings: SiteSettings) -> Iterator[Watch]:
    """Watch over the site while the block lasts.

    Raises
    ------
    InputError, UsageError : notices or port of [watch] cannot be had.
    """
    post = post_of(settings)
    outbox = Outbox(post, lambda line: LOG.warning("site %s: %s", settings.name, line))
    watch = Watch(settings, outbox)
    try:
        if settings.watch.port:
            pages = {"/health": watch.health, "/metrics": watch.metrics}
            with LoopbackServer(pages, settings.watch.port, where="site.toml, [watch]") as server:
                threading.Thread(target=server.serve_forever, daemon=True).start()
                LOG.info("site %s: /health and /metrics at %s", settings.name, server.url)
                try:
                    yield watch
                finally:
                    server.shutdown()
        else:
            yield watch
    except Exception:
        watch.notices.stopped()
        raise
    finally:
        outbox.end()


console, _ = consoles()


def notify(site: SiteOption = Path("site.toml")) -> None:
    """Send a notice to every address in the file that `notices` in site.toml names, to try them.

    Exit code 0: all took it. 1: one did not.
    """
    settings = settings_of(site)
    remedy = (
        "name a file as notices under [watch], and write addresses into it, one a line, as in"
        " mailto://user:password@example.org"
    )
    where, whence = str(settings.watch.notices or "site.toml, [watch]"), f"hospital {settings.name}"
    if not try_addresses(post_of(settings), whence, console.emit, where=where, remedy=remedy):
        raise typer.Exit(1)
