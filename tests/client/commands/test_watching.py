"""A hospital's people hear what needs them, and a monitoring system reads how their site is."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from client.cli import app
from client.commands import watching
from client.commands.watching import THERE_SECONDS, Facts, SiteNotices, Watch, watched
from client.gate.schema import CODES
from client.gate.standing import StandingFile
from client.site import SiteSettings, load_site
from common.errors import InputError, UsageError
from common.messages.problems import PROBLEMS
from common.utils.notices import Outbox, Post
from common.utils.processes import free_port
from tests.fixtures.webhook import SECRET, Hook, hooked


@pytest.fixture
def hook() -> Iterator[Hook]:
    yield from hooked(200)


class Clock:
    now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def settings(tmp_path: Path, hook: Hook) -> SiteSettings:
    """A site that wants notices and a port, as its site.toml says."""
    (tmp_path / "work").mkdir(mode=0o700)
    addresses = tmp_path / "notices.txt"
    addresses.write_text(f"{hook.address}\n", encoding="utf-8")
    addresses.chmod(0o600)
    (tmp_path / "site.toml").write_text(
        f'name = "north"\n[watch]\nnotices = "notices.txt"\nport = {free_port()}\n',
        encoding="utf-8",
    )
    return load_site(tmp_path / "site.toml")


class Told:
    """A watch over a site, and the notices that it sent."""

    def __init__(self, settings: SiteSettings, hook: Hook, clock: Clock) -> None:
        self.standing = StandingFile(settings.work, clock)
        self._hook, self._outbox = hook, Outbox(Post({1: hook.address}), print)
        self.watch = Watch(settings, self._outbox, clock)

    def titles(self) -> list[str]:
        self._outbox.end()
        return [one["title"].removeprefix("fedlnm: hospital north: ") for one in self._hook.got]


@pytest.fixture
def told(settings: SiteSettings, hook: Hook, clock: Clock) -> Told:
    return Told(settings, hook, clock)


def test_what_waits_for_the_hospital_is_said_once(told: Told) -> None:
    told.standing.needs("study_not_approved")
    for _ in range(2):
        told.watch.look()
    told.standing.answered("larynx", ("rule min_rows",))
    told.standing.needs("not_derived")
    told.watch.look()
    assert sorted(told.titles()) == [
        "an approval is missing",
        "rule min_rows refuses, in study larynx",
        "something was stopped here",
    ]


def test_a_need_that_came_back_is_said_again(told: Told, clock: Clock) -> None:
    for _ in range(2):
        clock.now += 10.0
        told.standing.answered("larynx", ("files",))
        told.watch.look()
        told.standing.answered("larynx", ())
        told.watch.look()
    assert told.titles() == ["cannot answer, in study larynx"] * 2


def test_the_end_of_a_study_is_said_and_not_again_after_a_restart(
    told: Told, settings: SiteSettings, hook: Hook, clock: Clock
) -> None:
    told.standing.asked("larynx", enrols=True)
    told.standing.finished("larynx")
    told.watch.look()
    assert told.titles() == ["study larynx is finished"]
    again = Told(settings, hook, clock)
    again.watch.look()
    assert again.titles() == ["study larynx is finished"]


def test_a_coordinator_that_is_away_is_said_once_a_run_goes_on_without_it(
    told: Told, clock: Clock
) -> None:
    told.standing.polled()
    told.watch.look()
    clock.now += 3600.0
    told.watch.look()  # nothing is asked of this site at the moment
    told.standing.polled()
    told.standing.asked("larynx", enrols=True)
    told.watch.look()
    for _ in range(14):
        clock.now += 60.0
        told.watch.look()
    assert told.watch.facts().state == "not connected"
    assert told.titles() == ["is not connected to the coordinator, and a run goes on"]


@pytest.mark.parametrize("code", [*CODES, *PROBLEMS, "rule min_rows"])
def test_every_code_has_words_of_this_release(code: str) -> None:
    what, text = watching.words_of(watching.Need(code, "larynx", 0.0))
    assert what and text and code in what + text


def ask(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", path)
    answer = connection.getresponse()
    found = answer.status, answer.read().decode()
    connection.close()
    return found


def test_health_and_numbers_are_served_while_the_site_takes_part(settings: SiteSettings) -> None:
    port, standing = settings.watch.port, StandingFile(settings.work)
    with watched(settings):
        assert ask(port, "/health") == (200, "waits\n")
        standing.polled()
        assert ask(port, "/health") == (200, "connected\n")
        standing.asked("larynx", enrols=True)
        assert ask(port, "/health") == (200, "takes part\n")
        standing.needs("not_derived")
        assert ask(port, "/health") == (503, "needs you\n")
        status, text = ask(port, "/metrics")
        assert status == 200
        assert 'fedlnm_site_state{site="north",state="needs you"} 1.0' in text
        assert 'fedlnm_site_needs_you_timestamp_seconds{site="north",code="not_derived",' in text
        assert 'fedlnm_site_study_asked_timestamp_seconds{site="north",study="larynx"}' in text
        assert "fedlnm_site_last_reply_timestamp_seconds" not in text
        assert ask(port, "/work/standing.json")[0] == 404
    with pytest.raises(ConnectionRefusedError):
        ask(port, "/health")


def test_a_port_that_is_taken_is_named_by_its_setting(settings: SiteSettings) -> None:
    with (
        watched(settings),
        pytest.raises(UsageError, match=r"site.toml, \[watch\]"),
        watched(settings),
    ):
        pass


def test_a_site_that_stops_by_an_error_says_so(settings: SiteSettings, hook: Hook) -> None:
    with pytest.raises(InputError), watched(settings):
        raise InputError("the key of Muster-Max", where="/data/Muster-Max", remedy="look")
    assert [one["title"] for one in hook.got] == ["fedlnm: hospital north: has stopped taking part"]
    assert "Muster" not in str(hook.got)
    with pytest.raises(KeyboardInterrupt), watched(settings):
        raise KeyboardInterrupt
    assert len(hook.got) == 1


def test_without_a_watch_block_nothing_is_served_or_sent(settings: SiteSettings) -> None:
    quiet = SiteSettings(name="north", work=settings.work)
    assert (quiet.watch.port, quiet.watch.notices) == (0, None)
    with watched(quiet) as watch:
        watch.look()
    assert isinstance(watch.notices, SiteNotices) and watch.facts().state == "waits"


def test_a_run_that_nobody_asked_of_for_days_is_no_longer_under_way(clock: Clock) -> None:
    standing = StandingFile(None, clock)
    standing.asked("larynx", enrols=True)
    for days, state in ((0.5, "not connected"), (3.0, "waits")):
        now = clock.now + days * 86400
        assert now - clock.now > THERE_SECONDS
        assert Facts("north", standing.now, 0, now).state == state


def test_the_command_sends_one_to_try(settings: SiteSettings, hook: Hook, tmp_path: Path) -> None:
    def give() -> Any:
        return CliRunner().invoke(app, ["notify", "--site", str(tmp_path)])

    assert give().exit_code == 0 and len(hook.got) == 1
    hook.status = 500
    refused = give()
    assert refused.exit_code == 1
    assert "line 1" in refused.output and SECRET not in refused.output
    (tmp_path / "notices.txt").unlink()
    assert isinstance(give().exception, InputError)
