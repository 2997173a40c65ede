"""SuperLink and SuperExec, and the SuperLink's file."""

from __future__ import annotations

import socket
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import get_object_id
from flwr.supercore.object_store.sql_object_store import SqlObjectStore

from common.errors import StudyError
from common.utils.processes import BackgroundProgram
from server.deployment import supervisor
from server.deployment.folder import CoordinatorFolder
from server.deployment.supervisor import PAGE_BYTES, Services, prepare_database


def page_bytes(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA page_size").fetchone()[0])


def test_flower_keeps_its_messages_in_large_pages(tmp_path: Path) -> None:
    path = tmp_path / "superlink.db"
    prepare_database(path)
    store = SqlObjectStore(str(path))
    store.initialize()
    content = b"ArrayChunk  5\x00" + bytes(5)
    name = get_object_id(content)
    store.preregister(1, ObjectTree(object_id=name))
    store.put(name, content)
    assert store.get(name) == content
    assert page_bytes(path) == PAGE_BYTES


def test_a_file_of_an_earlier_start_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "superlink.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE kept (number INTEGER)")
    before = path.read_bytes()
    prepare_database(path)
    assert path.read_bytes() == before


def dying(folder: CoordinatorFolder) -> BackgroundProgram:
    return BackgroundProgram([sys.executable, "-c", ""], {}, folder.state / "superexec.log")


def test_what_dies_too_often_is_given_up(
    folder: CoordinatorFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = Services(folder)
    services.superlink = BackgroundProgram(
        [sys.executable, "-c", "import time; time.sleep(60)"], {}, None
    )
    services.superexec = dying(folder)
    services.superlink.start()
    try:
        revived = []
        with pytest.raises(StudyError, match="SuperExec ended 6 times within an hour"):
            for _ in range(10):
                revived += services.revive()
                services.superexec.wait(10)
        assert revived == ["SuperExec"] * 5
    finally:
        services.superlink.stop()


def test_a_port_that_somebody_has_is_told_of(
    folder: CoordinatorFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "PORT_SECONDS", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        text = folder.settings_file.read_text(encoding="utf-8")
        port = taken.getsockname()[1]
        folder.settings_file.write_text(text.replace("port = 8000", f"port = {port}"), "utf-8")
        with pytest.raises(StudyError, match="listens on port"), Services(folder).running():
            raise AssertionError("it started")


def test_flower_is_started_closed(folder: CoordinatorFolder) -> None:
    from flwr.superlink.cli.flower_superlink import _parse_args_run_superlink

    command = Services(folder)._superlink_command()
    parsed = _parse_args_run_superlink().parse_args(command[command.index("--host") :])
    assert (parsed.host, parsed.isolation, parsed.insecure) == ("127.0.0.1", "process", False)
    assert parsed.enable_supernode_auth
    assert not parsed.runtime_dependency_install
    assert Path(parsed.ssl_certfile) == folder.server_certificate
    assert Path(parsed.superexec_auth_secret_file) == folder.superexec_secret
