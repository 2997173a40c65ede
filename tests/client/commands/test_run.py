"""A site keeps its SuperNode going."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import sys
import threading
from collections.abc import Iterator, Mapping
from itertools import chain, repeat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client.check.network import Contact
from client.cli import app
from client.commands import run
from client.commands.init import join
from client.gate.site_log import ROTATED, FlowerWords
from client.site import LOG, SiteSettings, load_site
from client.store.site_db import FILE, site_db
from common.errors import StudyError
from common.masking import identity
from common.messages.joining import Invitation
from common.utils.durable import MOST_BYTES
from common.utils.processes import BackgroundProgram, free_port
from server.deployment.authority import Pair, make_authority, make_server

PORT = free_port()


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Handlers that a test adds are gone after it."""
    before = list(LOG.handlers)
    yield
    LOG.handlers[:] = before


@pytest.fixture(scope="module")
def authority() -> Pair:
    return make_authority("127.0.0.1")


def site_of(authority: Pair, folder: Path, port: int) -> tuple[Path, SiteSettings]:
    own = identity.generate()
    invitation = Invitation(
        address=f"127.0.0.1:{port}",
        certificate=authority.certificate.decode(),
        coordinator_key=identity.public_text(own.public_key()),
    ).signed_by(own)
    join(folder, "a", invitation, port=PORT)
    return folder / "site.toml", load_site(folder / "site.toml")


@pytest.fixture
def unreachable(authority: Pair, tmp_path: Path) -> tuple[Path, SiteSettings]:
    """A site whose coordinator does not run."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return site_of(authority, tmp_path / "site", port)


def attend(site: Path, settings: SiteSettings) -> None:
    assert settings.deployment is not None
    run.attend(site, settings, settings.deployment)


@pytest.fixture
def reachable(
    unreachable: tuple[Path, SiteSettings], monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, SiteSettings]:
    """A site whose coordinator is there, as far as a visit can tell."""
    monkeypatch.setattr(run, "visit", lambda _: Contact(status=401))
    return unreachable


def shown(settings: SiteSettings) -> str:
    return (settings.work / "site.log").read_text(encoding="utf-8")


class Counted:
    """Programs that note their starts; the wait before the n-th new start is the last."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, waits: int) -> None:
        self.folder, self.pauses = folder, []
        node = self._program("node", "")
        launcher = self._program("launcher", "time.sleep(60)")
        monkeypatch.setattr(run, "programs_of", lambda *_: (node, launcher))
        self.launcher = launcher

        def sleep(seconds: float) -> None:
            self.pauses.append(seconds)
            if len(self.pauses) == waits:
                raise KeyboardInterrupt

        monkeypatch.setattr(run, "sleep", sleep)

    pauses: list[float]

    def _program(self, name: str, rest: str) -> BackgroundProgram:
        code = f"import time; open({str(self.folder / name)!r}, 'a').write('.'); {rest}"
        return BackgroundProgram([sys.executable, "-c", code], {}, None)

    def starts(self, name: str) -> int:
        return len((self.folder / name).read_text(encoding="utf-8"))


def test_a_supernode_that_ends_is_started_again_after_longer_and_longer_waits(
    reachable: tuple[Path, SiteSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(tmp_path, monkeypatch, waits=3)
    with pytest.raises(KeyboardInterrupt):
        attend(*reachable)
    assert counted.starts("node") == 3
    assert counted.pauses == [5.0, 10.0, 20.0]
    assert shown(reachable[1]).count("site a: connecting to 127.0.0.1:") == 3


def test_keys_of_runs_are_deleted_at_the_next_start(
    unreachable: tuple[Path, SiteSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = site_db(unreachable[1].work)
    memory.keep_run_key("study", "run", "session", "start", "sealed")
    Counted(tmp_path, monkeypatch, waits=1)
    with pytest.raises(KeyboardInterrupt):
        attend(*unreachable)
    assert memory.run_key("study", "run", "session", "start") is None


def test_a_site_without_a_memory_gets_none_by_its_start(
    unreachable: tuple[Path, SiteSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Counted(tmp_path, monkeypatch, waits=1)
    with pytest.raises(KeyboardInterrupt):
        attend(*unreachable)
    assert not (unreachable[1].work / FILE).exists()


def test_when_the_launcher_ends_both_start_again_since_a_message_may_be_lost(
    reachable: tuple[Path, SiteSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(tmp_path, monkeypatch, waits=2)
    node = counted._program("node", "time.sleep(600)")
    launcher = counted._program("launcher", "")
    monkeypatch.setattr(run, "programs_of", lambda *_: (node, launcher))
    with pytest.raises(KeyboardInterrupt):
        attend(*reachable)
    assert (counted.starts("node"), counted.starts("launcher")) == (2, 2)


def test_all_that_was_started_ends_with_the_command(
    reachable: tuple[Path, SiteSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(tmp_path, monkeypatch, waits=1)
    with pytest.raises(KeyboardInterrupt):
        attend(*reachable)
    assert not counted.launcher.running


def test_a_coordinator_that_does_not_run_yet_is_waited_for_before_anything_starts(
    unreachable: tuple[Path, SiteSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(tmp_path, monkeypatch, waits=3)
    with pytest.raises(KeyboardInterrupt):
        attend(*unreachable)
    assert counted.pauses == [run.LOOK_SECONDS] * 3
    assert not (tmp_path / "node").exists()
    said = shown(unreachable[1])
    assert said.count("nothing listens there: the coordinator's proxy does not run now") == 1
    assert said.count("ask your network people; this site waits, and then takes part") == 1


def test_a_coordinator_whose_proxy_alone_answers_is_waited_for(
    unreachable: tuple[Path, SiteSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(tmp_path, monkeypatch, waits=2)
    answers = iter([502, 502, 401, 401])
    monkeypatch.setattr(run, "visit", lambda _: Contact(status=next(answers)))
    with pytest.raises(KeyboardInterrupt):
        attend(*unreachable)
    assert counted.starts("node") == 1
    assert "the coordinator runs no study at the moment; this site waits" in shown(unreachable[1])


REFUSED = OSError("Tunnel connection failed: 407 Proxy Authentication Required")


@pytest.fixture
def behind_a_proxy(reachable: tuple[Path, SiteSettings]) -> tuple[Path, SiteSettings]:
    """A site whose file names a proxy and its password."""
    file = reachable[0].parent / "proxy.env"
    file.write_text("https_proxy=http://anna:s3cret@127.0.0.1:1\n", encoding="utf-8")
    file.chmod(0o600)
    return reachable


def test_a_password_that_the_proxy_refuses_ends_the_command_before_the_user_is_locked_out(
    behind_a_proxy: tuple[Path, SiteSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(tmp_path, monkeypatch, waits=1)
    monkeypatch.setattr(run, "visit", lambda _: Contact(failure=REFUSED))
    with pytest.raises(StudyError, match="the proxy refuses the user and password") as end:
        attend(*behind_a_proxy)
    assert end.value.exit_code == 78
    assert not (counted.folder / "node").exists()
    assert "s3cret" not in f"{end.value}{shown(behind_a_proxy[1])}"


def test_a_password_that_is_refused_later_is_said_once_and_tried_rarely(
    behind_a_proxy: tuple[Path, SiteSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flower's program, which would go on trying, is stopped."""
    counted = Counted(tmp_path, monkeypatch, waits=4)
    node = counted._program("node", "time.sleep(600)")
    monkeypatch.setattr(run, "programs_of", lambda *_: (node, counted.launcher))
    monkeypatch.setattr(run, "SILENT_SECONDS", 0.5)
    answers = chain([Contact(status=401)] * 2, repeat(Contact(failure=REFUSED)))
    monkeypatch.setattr(run, "visit", lambda _: next(answers))
    with pytest.raises(KeyboardInterrupt):
        attend(*behind_a_proxy)
    words = "the proxy refuses the user and password"
    assert counted.pauses == [5.0, *[run.REFUSED_SECONDS] * 3]
    assert not node.running
    said = [line for line in shown(behind_a_proxy[1]).splitlines() if words in line]
    assert ["is not heard" in line for line in said] == [True, False, False]
    assert "s3cret" not in shown(behind_a_proxy[1])


def test_a_coordinator_that_is_not_heard_any_more_is_named_once(
    reachable: tuple[Path, SiteSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(tmp_path, monkeypatch, waits=1)
    node = counted._program("node", "time.sleep(3.5)")
    monkeypatch.setattr(run, "programs_of", lambda *_: (node, counted.launcher))
    monkeypatch.setattr(run, "SILENT_SECONDS", 0.5)
    gone = Contact(failure=ConnectionRefusedError())
    answers = chain([Contact(status=401)] * 2, repeat(gone, 2), repeat(Contact(status=401)))
    monkeypatch.setattr(run, "visit", lambda _: next(answers))
    with pytest.raises(KeyboardInterrupt):
        attend(*reachable)
    assert shown(reachable[1]).count("the coordinator is not heard: ") == 1
    assert counted.starts("node") == 1


def test_a_second_start_in_one_folder_names_the_first(
    unreachable: tuple[Path, SiteSettings],
) -> None:
    settings = unreachable[1]
    with (
        run.only_one(settings),
        pytest.raises(StudyError, match=rf"takes part already: .*process {os.getpid()}\)") as end,
        run.only_one(settings),
    ):
        pass
    assert end.value.remedy == "leave it running, or end it first (Ctrl-C, or systemctl stop)"
    with run.only_one(settings):
        pass  # free again


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("identity.pem", "the identity key cannot be read"),
        ("node", "the node's key is lost: the coordinator knows this site by it"),
    ],
)
def test_lost_keys_are_named_with_the_way_back(
    unreachable: tuple[Path, SiteSettings], name: str, what: str
) -> None:
    site, _ = unreachable
    (site.parent / "keys" / name).unlink()
    done = CliRunner().invoke(app, ["run", "--site", str(site)])
    assert isinstance(done.exception, StudyError)
    assert what in str(done.exception)
    for words in ("restore the folder keys from its backup", "--replace", "approves again"):
        assert words in done.exception.remedy


def test_a_lost_certificate_of_the_coordinator_is_taken_from_the_invitation_again(
    unreachable: tuple[Path, SiteSettings],
) -> None:
    site, _ = unreachable
    (site.parent / "keys" / "coordinator.pem").unlink()
    done = CliRunner().invoke(app, ["run", "--site", str(site)])
    assert "the coordinator's certificate is lost" in str(done.exception)
    assert "invitation.json" in str(done.exception)


def test_a_port_that_somebody_else_took_first_stops_the_site_before_it_starts_anything(
    unreachable: tuple[Path, SiteSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(tmp_path, monkeypatch, waits=1)
    with (
        socket.create_server(("127.0.0.1", PORT)),
        pytest.raises(StudyError, match=f"another program listens on port {PORT}"),
    ):
        attend(*unreachable)
    assert not (counted.folder / "node").exists()


def test_a_port_that_somebody_takes_in_between_is_named(
    reachable: tuple[Path, SiteSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(tmp_path, monkeypatch, waits=1)
    node = counted._program("node", "")
    monkeypatch.setattr(run, "programs_of", lambda *_: (node, counted.launcher))
    start = node.start
    with socket.socket() as stranger:

        def taken(also: Mapping[str, str]) -> None:
            stranger.bind(("127.0.0.1", PORT))
            stranger.listen()
            start(also)

        monkeypatch.setattr(node, "start", taken)
        with pytest.raises(KeyboardInterrupt):
            attend(*reachable)
    log = (reachable[1].work / "site.log").read_text(encoding="utf-8")
    assert f"another program listens on port {PORT}" in log


@pytest.fixture
def served(authority: Pair, tmp_path: Path) -> Iterator[int]:
    """Port of a TLS server with a certificate of this authority."""
    server = make_server(authority, "127.0.0.1")
    files = (tmp_path / "server.pem", tmp_path / "server.key")
    files[0].write_bytes(server.certificate)
    files[1].write_bytes(server.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]


def test_another_authority_stops_the_site_before_it_sends_anything(
    served: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, settings = site_of(make_authority("127.0.0.1"), tmp_path / "site", served)
    counted = Counted(tmp_path, monkeypatch, waits=1)
    with pytest.raises(StudyError, match="certificate is not to be trusted"):
        attend(site, settings)
    assert not (counted.folder / "node").exists()
    assert "not to be trusted" in (settings.work / "site.log").read_text(encoding="utf-8")


def test_flowers_code_for_a_node_that_is_not_let_in_is_put_into_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = logging.Logger("flower")
    logger.addHandler(FlowerWords("a"))
    logger.error("Exit Code: 305\n[code: 2004] Failed to activate SuperNode.")
    logger.error("something else")
    reported = [record.getMessage() for record in caplog.records]
    assert len(reported) == 1
    assert "site a: the coordinator does not let this node in" in reported[0]
    assert "has not enrolled this site" in reported[0]


@pytest.mark.parametrize("name", ROTATED)
def test_a_log_that_has_grown_is_put_aside_while_the_site_waits(
    unreachable: tuple[Path, SiteSettings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """A coordinator can fill gate.log with its own words, and the study's program errors.log."""
    log = unreachable[1].work / name
    log.write_bytes(b"x" * MOST_BYTES)
    Counted(tmp_path, monkeypatch, waits=1)
    with pytest.raises(KeyboardInterrupt):
        attend(*unreachable)
    assert log.with_name(f"{name}.1").stat().st_size >= MOST_BYTES
    assert log.stat().st_size < MOST_BYTES / 2
