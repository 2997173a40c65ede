"""Commands that people at the coordinator type."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner, Result

from common.errors import InputError, UsageError
from common.masking import identity
from common.messages.joining import JoinRequest
from server.cli import app
from server.deployment import supervisor
from server.deployment.folder import CoordinatorFolder
from server.deployment.nginx import own_address
from server.deployment.roster import enrol, read_roster
from server.deployment.run_folder import RunFolder

Joiner = Callable[[str], JoinRequest]


def give(*arguments: object, answer: str = "") -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], input=answer)


def sites_of(folder: CoordinatorFolder) -> list[str]:
    public = identity.load(folder.identity).private.public_key()
    return [entry.site for entry in read_roster(folder.roster, public).sites]


def test_init_tells_what_to_send_and_what_to_read_out(tmp_path: Path) -> None:
    done = give("init", tmp_path / "hub", "--address", "hub.example:443")
    assert done.exit_code == 0, done.output
    folder = CoordinatorFolder(tmp_path / "hub")
    public = identity.load(folder.identity).private.public_key()
    assert identity.fingerprint(public) in done.output
    assert str(folder.invitation) in done.output
    readme = (folder.root / "README.md").read_text(encoding="utf-8")
    assert "hub.example:443" in readme


@pytest.mark.parametrize("address", ["hub.example", "https://hub.example/", "hub.example:99999999"])
def test_an_address_without_a_port_is_wrong_usage(address: str, tmp_path: Path) -> None:
    done = give("init", tmp_path / "hub", "--address", address)
    assert isinstance(done.exception, UsageError)
    assert not (tmp_path / "hub").exists()


@pytest.mark.parametrize(
    ("words", "line", "said"),
    [
        (("127.0.0.1:8443",), "listen 127.0.0.1:8443 ssl;", "127.0.0.1"),
        (("localhost:8443",), "listen 127.0.0.1:8443 ssl;", "127.0.0.1"),
        (("[::1]:8443", "--listen", "::1"), "listen [::1]:8443 ssl;", "::1"),
        (("127.0.0.1:443", "--listen", "127.0.0.3"), "listen 127.0.0.3:443 ssl;", "127.0.0.3"),
        # an address of another machine, as of a router in front of this one
        (("192.0.2.7:443",), "listen 443 ssl;", "every address of this machine"),
    ],
)
def test_the_proxy_listens_on_the_address_that_hospitals_call(
    words: tuple[str, ...], line: str, said: str, tmp_path: Path
) -> None:
    done = give("init", tmp_path / "hub", "--address", *words)
    assert done.exit_code == 0, done.output
    assert f"it listens on {said}" in " ".join(done.output.split())
    assert line in (tmp_path / "hub" / "nginx" / "fedlnm.conf").read_text(encoding="utf-8")


def test_a_machines_own_name_that_leads_to_loopback_is_not_listened_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.1.1", 0))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [answer])
    assert own_address("hub.example.org") == ""


def test_a_name_is_no_address_to_listen_on(tmp_path: Path) -> None:
    done = give("init", tmp_path / "hub", "--address", "hub.example:443", "--listen", "eth0")
    assert str(done.exception).startswith('--listen: not an IP address: "eth0"')
    assert not (tmp_path / "hub").exists()


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("y\n", 0)])
def test_a_site_is_enrolled_once_its_fingerprint_was_compared(
    answer: str, code: int, folder: CoordinatorFolder, request_of: Joiner, tmp_path: Path
) -> None:
    request = request_of("a")
    file = tmp_path / "sites" / "a" / "a.request.json"
    done = give("enrol", folder.root, file, answer=answer)
    assert done.exit_code == code, done.output
    assert request.check() in done.output
    assert sites_of(folder) == ([] if code else ["a"])


def test_a_site_is_taken_off_by_name(
    folder: CoordinatorFolder, request_of: Joiner, tmp_path: Path
) -> None:
    request_of("a")
    give("enrol", folder.root, tmp_path / "sites" / "a" / "a.request.json", "--yes")
    assert sites_of(folder) == ["a"]
    done = give("enrol", folder.root, "--remove", "a")
    assert done.exit_code == 0, done.output
    assert sites_of(folder) == []


def test_enrol_takes_a_request_or_a_name(folder: CoordinatorFolder) -> None:
    assert isinstance(give("enrol", folder.root).exception, UsageError)


@pytest.mark.parametrize("command", ["enrol", "prepare", "run", "resume", "status", "renew"])
def test_every_command_says_so_when_the_folder_is_none(command: str, tmp_path: Path) -> None:
    more: list[Any] = {"enrol": ["r.json"], "prepare": ["s.toml"], "run": ["s"]}.get(command, [])
    done = give(command, tmp_path, *more)
    assert isinstance(done.exception, InputError)
    assert "fedlnm-server init" in str(done.exception)


def test_status_and_resume_say_so_when_nothing_was_run(folder: CoordinatorFolder) -> None:
    for command in ("status", "resume"):
        said = str(give(command, folder.root).exception)
        assert "nothing was ever run here" in said
        assert f"-> fedlnm-server run {folder.root} STUDY" in said


class Interrupted:
    """Supervisor of runs that somebody interrupts at once."""

    begun: ClassVar[list[str]] = []

    def __init__(self, _: CoordinatorFolder, run: RunFolder, *__: object) -> None:
        self.begun.append(run.name)

    def supervise(self, *_: object) -> None:
        raise KeyboardInterrupt


def test_run_goes_on_with_a_run_that_is_not_finished_and_says_so(
    folder: CoordinatorFolder,
    request_of: Joiner,
    tabular_master: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "Supervisor", Interrupted)
    for name in "abc":
        enrol(folder, request_of(name), replace=False)
    give("prepare", folder.root, tabular_master / "study.toml")
    assert "is not finished" not in give("run", folder.root, "tabular").output
    (begun,) = folder.runs.iterdir()
    begun.rename(folder.runs / "tabular-1")
    shown = give("run", folder.root, "tabular").output
    assert "run tabular-1 of this study is not finished: going on with it" in shown
    assert "fedlnm-server run --new" in shown
    give("run", folder.root, "tabular", "--new")
    first, second, third = Interrupted.begun
    assert (first, second) == (begun.name, "tabular-1")
    assert third not in (first, second) or len(list(folder.runs.iterdir())) == 2


def test_several_studies_are_named_in_one_command(
    folder: CoordinatorFolder,
    request_of: Joiner,
    tabular_master: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "Supervisor", Interrupted)
    for name in "abc":
        enrol(folder, request_of(name), replace=False)
    text = (tabular_master / "study.toml").read_text(encoding="utf-8")
    for name in ("tabular", "other"):
        file = folder.root / f"{name}.toml"
        file.write_text(text.replace('name = "tabular"', f'name = "{name}"', 1), encoding="utf-8")
        give("prepare", folder.root, file)
    Interrupted.begun.clear()
    shown = give("run", folder.root, "tabular", "other", "tabular").output
    names = [name.partition("-")[0] for name in Interrupted.begun]
    assert names == ["tabular", "other"]
    assert all(f"run {name}; Ctrl-C interrupts it" in shown for name in Interrupted.begun)
    again = give("resume", folder.root, *Interrupted.begun)
    assert again.exit_code == 130
    assert " ".join(Interrupted.begun[:2]) in " ".join(again.stderr.split())


def test_status_of_a_run_that_nobody_keeps_going_says_how_it_goes_on(
    folder: CoordinatorFolder, tabular_master: Path
) -> None:
    (folder.runs / "tabular-1" / "input").mkdir(parents=True)
    study = (tabular_master / "study.toml").read_text(encoding="utf-8")
    (folder.runs / "tabular-1" / "input" / "study.toml").write_text(study, encoding="utf-8")
    events = folder.runs / "tabular-1" / "events.jsonl"
    events.write_text(json.dumps({"time": 1, "kind": "start"}) + "\n", encoding="utf-8")
    shown = give("status", folder.root).stdout
    assert shown.splitlines()[-1] == f"to go on: fedlnm-server resume {folder.root} tabular-1"
    events.write_text(json.dumps({"time": 1, "kind": "finished"}) + "\n", encoding="utf-8")
    assert "to go on" not in give("status", folder.root).stdout


def test_a_finished_run_is_not_resumed(folder: CoordinatorFolder, tabular_master: Path) -> None:
    run = folder.runs / "tabular-1"
    (run / "input").mkdir(parents=True)
    study = (tabular_master / "study.toml").read_text(encoding="utf-8")
    (run / "input" / "study.toml").write_text(study, encoding="utf-8")
    (run / "events.jsonl").write_text(json.dumps({"time": 1, "kind": "finished"}) + "\n")
    assert "this run is finished" in str(give("resume", folder.root).exception)
    reported = json.loads(give("status", folder.root, "--json").stdout)
    assert (reported["state"], reported["study"]) == ("finished", "tabular")
