"""Installed packages against what the release asks for."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from client.check.finding import Finding
from client.check.machine import check_release, check_software
from common.errors import StudyError
from common.study.release_mark import own_release
from common.utils.versions import PACKAGE


def found() -> dict[str, list[Finding]]:
    rows: dict[str, list[Finding]] = {}
    for row in check_software():
        rows.setdefault(row.kind, []).append(row)
    return rows


def test_the_installation_of_these_tests_passes() -> None:
    assert [row.severity for rows in found().values() for row in rows] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("version", "severity"), [("", "not checked"), (own_release(), "ok"), ("99.1", "warning")]
)
def test_the_release_that_prepared_the_study_is_held_against_the_installed_one(
    tmp_path: Path, version: str, severity: str
) -> None:
    path = tmp_path / "study.toml"
    head = f"# Prepared by {PACKAGE} {version}\n" if version else ""
    path.write_text(f'{head}name = "x"\n', encoding="utf-8")
    (row,) = check_release(path)
    assert (row.kind, row.severity) == ("software.release", severity)
    if severity == "warning":
        assert f"with release 99.1, and release {own_release()} is installed here" in row.what
        assert "install release 99.1 here" in row.remedy


def test_another_version_and_a_missing_package_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["numpy<1", "no-such-package==3", 'ruff==0; extra == "dev"', "pandas>=1"]
    monkeypatch.setattr(metadata, "requires", lambda _: asked)
    rows = found()["software.versions"]
    assert [row.severity for row in rows] == ["problem", "problem"]
    assert f"numpy is {metadata.version('numpy')}, this release asks for <1" in rows[0].what
    assert "no-such-package is missing" in rows[1].what


def test_a_build_for_one_processor_is_the_same_version(monkeypatch: pytest.MonkeyPatch) -> None:
    public = metadata.version("torch").partition("+")[0]
    monkeypatch.setattr(metadata, "requires", lambda _: [f"torch=={public}"])
    assert [row.severity for row in found()["software.versions"]] == ["ok"]


def test_a_checkout_that_is_not_installed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(metadata, "requires", missing)
    assert [row.severity for row in found()["software.versions"]] == ["not checked"]


def test_a_flower_that_the_gate_does_not_fit_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def moved() -> None:
        raise StudyError("not the one", where="gate", remedy="install another")

    monkeypatch.setattr("common.flower.supernode.check_seam", moved)
    (row,) = found()["software.flower"]
    assert (row.severity, row.where, row.remedy) == ("problem", "gate", "install another")
