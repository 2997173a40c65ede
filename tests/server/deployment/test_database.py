"""The SuperLink's file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import get_object_id
from flwr.supercore.object_store.sql_object_store import SqlObjectStore

from server.deployment.services import PAGE_BYTES, prepare_database


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
