"""Files of a run: tables under safe names, for one user alone."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.store.run_files import RunTables, StoredTable, safe_name
from common.errors import StudyError


@pytest.mark.parametrize("name", ["../a", "a/b", "", ".hidden", "a..b", "a\x00", "a b", "x" * 200])
def test_a_name_from_another_party_never_leaves_its_folder(name: str) -> None:
    with pytest.raises(StudyError, match="cannot be a file name"):
        safe_name(name)


@given(st.text(min_size=1))
def test_whatever_passes_as_a_name_is_one_path_component(name: str) -> None:
    try:
        safe = safe_name(name)
    except StudyError:
        return
    assert Path("folder", safe).resolve().parent == Path("folder").resolve()


def test_tables_with_patients_ids_are_for_one_user_alone(tmp_path: Path) -> None:
    work = tmp_path / "new" / "work"
    before = os.umask(0o022)
    try:
        RunTables(work, "r").write("scores", "i", StoredTable(("a1",), ("x",), np.zeros((1, 1))))
    finally:
        os.umask(before)
    kept = [work.parent, work, *work.rglob("*")]
    assert len(kept) == 5
    assert not [path for path in kept if path.stat().st_mode & 0o077]


def test_a_table_comes_back_as_it_was(tmp_path: Path) -> None:
    tables = RunTables(tmp_path, "federated")
    table = StoredTable(("p/1", "ü 2"), ("c",), np.array([[0.1], [np.pi]]))
    tables.write("dl3d/final/probability", "external_1", table)
    back = tables.read("dl3d/final/probability", "external_1")
    assert back.patients == table.patients
    assert back.columns == table.columns
    np.testing.assert_array_equal(back.values, table.values)
    with pytest.raises(KeyError):
        tables.read("dl3d/final/probability", "internal")


def test_runs_do_not_share_tables(tmp_path: Path) -> None:
    table = StoredTable(("p",), ("c",), np.zeros((1, 1)))
    RunTables(tmp_path, "federated").write("scores", "t", table)
    with pytest.raises(KeyError):
        RunTables(tmp_path, "local-a").read("scores", "t")
