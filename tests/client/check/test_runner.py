"""Nothing is skipped in silence: every kind has a row, whatever is wrong with the site."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from client.check import machine
from client.check.finding import KINDS, NOT_APPLICABLE, Finding, Report, placed, show
from client.check.runner import Wish, rehearse, site_of
from common.study.model import load_study, write_study

ROOT = Path(__file__).resolve().parents[3]


def check(folder: Path, study: Path, cache: Path | None = None) -> Report:
    return rehearse(folder, study, Wish(cache=cache), None)


def kinds(report: Report) -> set[str]:
    """Kinds of all rows, and those that the one row of what does not apply names."""
    found = {finding.kind for finding in report.findings}
    for finding in report.of("not applicable"):
        for name in re.findall(r"[a-z]+\.[a-z_*]+", finding.what):
            found |= set(placed(name.removesuffix(".*"))) if name.endswith("*") else {name}
    return found & set(KINDS)


def test_every_kind_has_a_row_at_a_good_hospital(imaging_master: Path, imaging_cache: Path) -> None:
    report = check(imaging_master / "harbour", imaging_master / "study.toml", imaging_cache)
    assert kinds(report) == set(KINDS)
    assert report.ready


@pytest.mark.parametrize(
    "content", ["", "patient_id\np1\n", "patient_id,label,split\n,,\n"], ids=["", "column", "row"]
)
@pytest.mark.parametrize("study", ["tabular", "imaging"])
def test_every_kind_has_a_row_when_little_can_be_read(
    tmp_path: Path, content: str, study: str, request: pytest.FixtureRequest
) -> None:
    master: Path = request.getfixturevalue(f"{study}_master")
    name = "a" if study == "tabular" else "north"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "cohort.csv").write_text(content, encoding="utf-8")
    report = check(folder, master / "study.toml")
    assert kinds(report) == set(KINDS)
    assert not report.ready


def test_what_does_not_apply_is_one_row_and_what_could_not_be_looked_at_is_not(
    tabular_master: Path,
) -> None:
    report = check(tabular_master / "a", tabular_master / "study.toml")
    (row,) = report.of("not applicable")
    assert row.kind == NOT_APPLICABLE
    assert row.what.startswith("not applicable to this study: ")
    assert "the study reads no images (image.*, mask.*, identifiers.headers)" in row.what
    assert "no coordinator is known (study.coordinator, keys.node, machine.clock, " in row.what
    assert not [f for f in report.findings if f.kind.startswith(("image.", "mask."))]
    rest = {finding.kind for finding in report.of("not checked")}
    assert "disclosure.others" in rest
    assert len(rest) < 8
    listed = json.loads(json.dumps(report.as_dict()))["findings"]
    assert [f["what"] for f in listed if f["severity"] == "not applicable"] == [row.what]
    lines = shown(report)
    assert lines.count("not applicable to this study") == 1


def shown(report: Report) -> str:
    console = Console(width=300, record=True, file=io.StringIO())
    show(report, console)
    return console.export_text()


def test_a_study_of_images_says_nothing_of_images_in_that_row(
    imaging_master: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "north"
    folder.mkdir()
    (folder / "cohort.csv").write_text("", encoding="utf-8")
    report = check(folder, imaging_master / "study.toml")
    (row,) = report.of("not applicable")
    assert "image" not in row.what
    assert {"image.unusable", "mask.place"} <= {f.kind for f in report.of("not checked")}


def test_what_was_not_checked_says_why(tabular_master: Path) -> None:
    report = check(tabular_master / "a", tabular_master / "study.toml")
    assert kinds(report) == set(KINDS)
    assert all(len(finding.what) > 10 for finding in report.of("not checked"))
    assert report.counts == {"train": (60, 24), "internal": (15, 6)}
    assert len(report.folds) == 5


def test_too_little_disk_keeps_images_from_being_prepared_but_not_from_being_read(
    imaging_master: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage)
    report = check(imaging_master / "harbour", imaging_master / "study.toml", tmp_path / "cache")
    rows = {finding.kind: finding for finding in report.findings}
    assert rows["machine.disk"].severity == "problem"
    assert rows["image.prepared"].severity == "not checked"
    assert rows["image.unusable"].what == "12 images"
    assert not (tmp_path / "cache").exists()


def test_fewer_repeat_readings_than_the_rule_wants_are_refused(
    imaging_master: Path, imaging_cache: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "north"
    shutil.copytree(imaging_master / "north", folder)
    path = folder / "cohort.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([lines[0], *lines[3:]]) + "\n", encoding="utf-8")
    report = check(folder, imaging_master / "study.toml", imaging_cache)
    (row,) = (finding for finding in report.findings if finding.kind == "disclosure.readings")
    assert row.severity == "problem"
    assert "at least 5 needed (rule paired" in row.what


def test_a_site_that_joined_is_checked_up_to_its_line(
    tabular_master: Path, tmp_path: Path, hub: Any, joined: Any
) -> None:
    folder = tmp_path / "a"
    study = load_study(tabular_master / "study.toml")
    study = joined(folder, "a", study, hub().deployment(folder / "keys"))
    shutil.copy(tabular_master / "a" / "cohort.csv", folder)
    report = check(folder, write_study(study, tmp_path / "study.toml"))
    rows: dict[str, Finding] = {finding.kind: finding for finding in report.findings}
    assert report.ready
    assert rows["keys.identity"].severity == rows["keys.node"].severity == "ok"
    assert rows["machine.clock"].what == "agrees with the coordinator's"
    assert "(measured)" in rows["transfer.time"].what
    assert report.speed is not None
    json.dumps(report.as_dict())


def test_a_folder_without_settings_takes_all_paths_from_itself(tmp_path: Path) -> None:
    settings = site_of(tmp_path)
    for path in (settings.data, settings.work, settings.cache, settings.identity):
        assert path.is_relative_to(tmp_path.resolve())


def test_a_finding_of_an_unknown_kind_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="no kind of finding"):
        Finding("cohort.colour", "ok", "", "")


def test_every_kind_is_explained_in_the_documentation() -> None:
    text = (ROOT / "docs" / "check.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `([a-z_.]+)` \| (.+?) \|", text, flags=re.MULTILINE))
    assert {kind for kind in listed if "." in kind} == set(KINDS)


def test_what_is_wrong_is_told_before_the_long_work_and_kept_when_it_is_stopped(
    imaging_master: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "harbour"
    shutil.copytree(imaging_master / "harbour", folder)
    table = folder / "cohort.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    cells = lines[1].split(",")
    cells[lines[0].split(",").index("label")] = "7"
    table.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n", encoding="utf-8")
    reported: list[Finding] = []

    def stop(done: int, total: int, what: str) -> None:
        raise KeyboardInterrupt

    study = imaging_master / "study.toml"
    report = rehearse(folder, study, Wish(cache=tmp_path / "cache"), stop, reported.append)
    assert "cohort.label" in {finding.kind for finding in reported}
    assert not {finding.severity for finding in reported} & {"ok", "not checked"}
    assert report.stopped
    assert not report.ready
    assert {finding.kind for finding in reported} <= {finding.kind for finding in report.findings}
    assert report.as_dict()["stopped"] is True


def test_a_stopped_check_says_so_last() -> None:
    out = io.StringIO()
    report = Report(site="a", study="s", digest="0" * 64, stopped=True)
    show(report, Console(file=out, width=120))
    assert out.getvalue().splitlines()[-1].startswith("stopped, so not everything was looked at")
