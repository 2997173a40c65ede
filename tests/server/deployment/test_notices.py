"""Notices of a coordinator, received by a webhook on this machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from common.errors import InputError, StudyError, UsageError
from common.utils.notices import Post, read_addresses
from server.cli import app
from server.deployment import supervisor
from server.deployment.folder import CoordinatorFolder
from server.deployment.notices import Notices, post_of
from server.deployment.run_folder import RunFolder
from server.progress.events import Events
from tests import builders
from tests.fixtures.webhook import SECRET, Hook, hooked

PATIENCE = 600.0


@pytest.fixture
def hook() -> Iterator[Hook]:
    yield from hooked(200)


@pytest.fixture
def broken_hook() -> Iterator[Hook]:
    yield from hooked(500)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "heart-20261130-120000")
    folder.study_file.parent.mkdir(parents=True)
    builders.study_file(folder.study_file)
    return folder


def notices_of(run: RunFolder, hook: Hook, said: list[str]) -> Notices:
    return Notices(run, Post({1: hook.address}), PATIENCE, said.append)


def late(*sites: str, seconds: float) -> dict[str, Any]:
    return {"sites": [{"site": site, "seconds": seconds, "why": "never seen"} for site in sites]}


def test_a_hospital_that_is_late_is_told_of_once_until_it_has_answered(
    run: RunFolder, hook: Hook
) -> None:
    notices, events = notices_of(run, hook, []), Events(run.events_file)
    events.emit("phase", phase="table1")
    events.emit("waiting", **late("north", seconds=30))
    notices.poll()
    for seconds in (600, 630):
        events.emit("waiting", **late("north", "south", seconds=seconds))
        notices.poll()
    events.emit("contact", site="north", up=1, down=1)
    events.emit("waiting", **late("north", "south", seconds=700))
    notices.poll()
    notices.end()
    titles = [one["title"] for one in hook.got]
    name = "fedlnm: run heart-20261130-120000 waits for"
    assert titles == [f"{name} north, south", f"{name} north"]
    assert "(Table 1)" in hook.got[0]["message"]


def test_the_end_is_told_and_no_word_of_an_error_or_number_of_patients_leaves(
    run: RunFolder, hook: Hook
) -> None:
    notices, events = notices_of(run, hook, []), Events(run.events_file)
    events.emit("enrolled", site="north", counts={"train": (4711, 12)})
    events.emit("failed", message=f"north has 4711 patients; {SECRET}", exit_code=1)
    notices.poll()
    notices.stopped()
    events.emit("finished")
    notices.poll()
    notices.end()
    assert [one["title"].split(" ", 3)[3] for one in hook.got] == ["has stopped", "is finished"]
    sent = json.dumps(hook.got)
    assert "4711" not in sent and SECRET not in sent


def test_what_happened_before_is_not_told_again(run: RunFolder, hook: Hook) -> None:
    Events(run.events_file).emit("finished")
    notices = notices_of(run, hook, [])
    notices.poll()
    notices.end()
    assert hook.got == []


def test_a_service_that_refuses_is_named_by_its_line_and_never_by_its_address(
    run: RunFolder, hook: Hook, broken_hook: Hook, capfd: pytest.CaptureFixture[str], caplog: Any
) -> None:
    said: list[str] = []
    notices = Notices(run, Post({2: broken_hook.address, 5: hook.address}), PATIENCE, said.append)
    notices.stopped()
    notices.end()
    assert said == ["a notice was not taken by the address in line 2 of notices.txt"]
    assert len(hook.got) == 1
    shown = capfd.readouterr()
    assert SECRET not in shown.out + shown.err + caplog.text


def test_addresses_stand_one_a_line_in_a_file_that_nobody_else_reads(
    folder: CoordinatorFolder, hook: Hook
) -> None:
    assert post_of(folder) is None
    folder.notices.write_text(f"# the people on call\n\n{hook.address}\n", encoding="utf-8")
    folder.notices.chmod(0o640)
    with pytest.raises(InputError, match="may hold passwords"):
        read_addresses(folder.notices)
    folder.notices.chmod(0o600)
    assert read_addresses(folder.notices) == {3: hook.address}
    folder.notices.write_text(f"ftp-over-pigeon://{SECRET}\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 1 is no address") as wrong:
        post_of(folder)
    assert SECRET not in str(wrong.value)


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(UsageError, match=r"fedlnm\[notices\]"):
        Post({1: "json://127.0.0.1"})


def give(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_the_command_sends_one_to_try_and_says_which_address_does_not_take_it(
    folder: CoordinatorFolder, hook: Hook, broken_hook: Hook
) -> None:
    nowhere = give("notify", folder.root)
    assert isinstance(nowhere.exception, InputError)
    folder.notices.write_text(f"{hook.address}\n", encoding="utf-8")
    folder.notices.chmod(0o600)
    done = give("notify", folder.root)
    assert done.exit_code == 0 and len(hook.got) == 1
    folder.notices.write_text(f"{hook.address}\n{broken_hook.address}\n", encoding="utf-8")
    done = give("notify", folder.root)
    assert done.exit_code == 1 and "line 2" in done.output and SECRET not in done.output


def test_a_run_that_cannot_be_kept_going_is_told_of(
    folder: CoordinatorFolder, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the study's program died without a last word."""
    folder.notices.write_text(f"{hook.address}\n", encoding="utf-8")
    folder.notices.chmod(0o600)
    run = RunFolder(folder.runs / "heart-1")
    run.study_file.parent.mkdir(parents=True)
    builders.study_file(run.study_file)

    def supervise(_: supervisor.Supervisor) -> None:
        raise StudyError("the SuperLink ended six times", where="superlink.log")

    monkeypatch.setattr(supervisor.Supervisor, "supervise", supervise)
    stopped = give("resume", folder.root)
    assert isinstance(stopped.exception, StudyError)
    assert [one["title"] for one in hook.got] == ["fedlnm: run heart-1 has stopped"]
