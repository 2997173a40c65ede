"""A site keeps its SuperNode going."""

from __future__ import annotations

import logging
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.commands import run
from client.commands.init import join
from client.gate.flower_log import FlowerWords
from client.site import LOG, SiteSettings, load_site
from client.store.site_db import FILE, site_db
from common.errors import StudyError
from common.masking import identity
from common.messages.joining import Invitation
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
    unreachable: tuple[Path, SiteSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(tmp_path, monkeypatch, waits=3)
    with pytest.raises(KeyboardInterrupt):
        attend(*unreachable)
    assert counted.starts("node") == 3
    assert counted.pauses == [5.0, 10.0, 20.0]


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
    unreachable: tuple[Path, SiteSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(tmp_path, monkeypatch, waits=2)
    node = counted._program("node", "time.sleep(600)")
    launcher = counted._program("launcher", "")
    monkeypatch.setattr(run, "programs_of", lambda *_: (node, launcher))
    with pytest.raises(KeyboardInterrupt):
        attend(*unreachable)
    assert (counted.starts("node"), counted.starts("launcher")) == (2, 2)


def test_all_that_was_started_ends_with_the_command(
    unreachable: tuple[Path, SiteSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(tmp_path, monkeypatch, waits=1)
    with pytest.raises(KeyboardInterrupt):
        attend(*unreachable)
    assert not counted.launcher.running


def test_a_coordinator_that_does_not_run_yet_is_waited_for_and_logged(
    unreachable: tuple[Path, SiteSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Counted(tmp_path, monkeypatch, waits=1)
    with pytest.raises(KeyboardInterrupt):
        attend(*unreachable)
    log = (unreachable[1].work / "supernode.log").read_text(encoding="utf-8")
    assert "nothing listens there -> ask the coordinator whether it runs" in log
    assert "trying again in 5 s" in log


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
    unreachable: tuple[Path, SiteSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(tmp_path, monkeypatch, waits=1)
    node = counted._program("node", "")
    monkeypatch.setattr(run, "programs_of", lambda *_: (node, counted.launcher))
    start = node.start
    with socket.socket() as stranger:

        def taken() -> None:
            stranger.bind(("127.0.0.1", PORT))
            stranger.listen()
            start()

        monkeypatch.setattr(node, "start", taken)
        with pytest.raises(KeyboardInterrupt):
            attend(*unreachable)
    log = (unreachable[1].work / "supernode.log").read_text(encoding="utf-8")
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
    assert "not to be trusted" in (settings.work / "supernode.log").read_text(encoding="utf-8")


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
