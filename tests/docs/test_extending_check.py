"""The worked example of docs/extending.md adds a check in one file."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.check.finding import Report
from client.check.registry import forget
from client.check.runner import Wish, rehearse

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "extending" / "check.py"
KIND = "cohort.onesided"


@pytest.fixture
def example() -> Iterator[None]:
    spec = importlib.util.spec_from_file_location("extending_check", EXAMPLE)
    assert spec is not None and spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    yield
    forget("patients", "check_one_sided")


def rows(report: Report) -> list[tuple[str, str]]:
    return [(one.severity, one.where) for one in report.findings if one.kind == KIND]


@pytest.mark.usefixtures("example")
def test_the_check_runs_beside_the_others(tabular_master: Path, tmp_path: Path) -> None:
    study = tabular_master / "study.toml"
    assert rows(rehearse(tabular_master / "a", study, Wish(), None)) == [("ok", "")]
    folder = tmp_path / "a"
    folder.mkdir()
    header, *lines = (tabular_master / "a" / "cohort.csv").read_text("utf-8").splitlines()
    place = header.split(",").index("sex")
    first = lines[0].split(",")[place]
    same = [",".join([*p[:place], first, *p[place + 1 :]]) for p in (x.split(",") for x in lines)]
    (folder / "cohort.csv").write_text("\n".join([header, *same]) + "\n", encoding="utf-8")
    assert rows(rehearse(folder, study, Wish(), None)) == [("warning", "sex")]


@pytest.mark.usefixtures("example")
def test_its_kind_is_not_checked_where_the_rows_cannot_be_read(
    tabular_master: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "cohort.csv").write_text("", encoding="utf-8")
    report = rehearse(folder, tabular_master / "study.toml", Wish(), None)
    assert rows(report) == [("not checked", "")]


def test_without_the_file_the_kind_is_unknown(tabular_master: Path) -> None:
    assert rows(rehearse(tabular_master / "a", tabular_master / "study.toml", Wish(), None)) == []
