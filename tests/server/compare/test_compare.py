"""Two runs side by side."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from common.errors import InputError, UsageError
from server.cli import app
from server.compare import comparison
from server.compare.comparison import render, warnings
from server.compare.run import read_run
from server.report import words
from tests.server.compare.conftest import write_run

MINUS = "\N{MINUS SIGN}"


def give(*arguments: object) -> Any:
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, ["report", *map(str, arguments)])


def test_a_changed_area_is_the_only_difference(runs: tuple[Path, Path]) -> None:
    first, second = map(read_run, runs)
    changed = {
        (block.key, line.key, line.cells[2].text)
        for block in comparison.auc_blocks(first, second)
        for line in block.lines
        if line.cells[2].text != "0.000"
    }
    assert changed == {("internal", "dl3d", f"{MINUS}0.050")}


def test_areas_are_those_of_the_results(runs: tuple[Path, Path]) -> None:
    first, second = map(read_run, runs)
    for block in comparison.auc_blocks(first, second):
        for line in block.lines:
            for cell, run in zip(line.cells, (first, second), strict=False):
                assert cell.text == f"{run.performance[block.key, line.key].auc:.3f}"


def test_only_settings_that_differ_are_listed(runs: tuple[Path, Path]) -> None:
    block = comparison.settings_block(*map(read_run, runs))
    assert block is not None
    (line,) = block.lines
    assert (line.head, [cell.text for cell in line.cells]) == ("seed", ["11", "12"])
    assert "are the same" in block.note


def test_keys_of_sites_are_no_setting(runs: tuple[Path, Path]) -> None:
    settings = read_run(runs[0]).settings
    assert settings["sites.a.trains"] == "yes"
    assert not any("public_key" in name for name in settings)


def test_features_common_and_not(runs: tuple[Path, Path]) -> None:
    found = {model: (one, two) for model, one, two in comparison.chosen(*map(read_run, runs))}
    one, two = found["clinical"]
    assert two - one == {"another_feature"}
    assert len(one - two) == 1
    assert len(one & two) == 4
    assert found["radiomics"][0] == found["radiomics"][1]


def test_software_that_differs(runs: tuple[Path, Path]) -> None:
    (line,) = comparison.software_block(*map(read_run, runs)).lines
    assert (line.head, [cell.text for cell in line.cells]) == ("torch", ["2.13.0", "2.14.0"])


def test_time_and_bytes_are_sums_of_the_federated_run(runs: tuple[Path, Path]) -> None:
    first, second = map(read_run, runs)
    lines = {line.head: line.cells[0].text for line in comparison.effort_block(first, second).lines}
    up = sum(row.bytes_up for row in first.results.transfers if row.run == "federated")
    assert lines["Sent by the sites"] == words.size(up)
    seconds = sum(by["federated"] for by in first.results.timing.values())
    assert lines["All phases"] == words.duration(seconds)


def test_the_command_shows_and_writes_it(runs: tuple[Path, Path], tmp_path: Path) -> None:
    done = give("--compare", *runs, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert f"{MINUS}0.050" in done.output
    assert "seed: 11 | 12" in done.output
    assert "no P value" in done.output
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "DeLong" in page
    assert f"{MINUS}0.050" in page


def test_the_page_is_by_default_beside_the_second_run(runs: tuple[Path, Path]) -> None:
    assert give("--compare", *runs).exit_code == 0
    assert (runs[1] / "compare-earlier" / "index.html").is_file()


def test_the_page_asks_nobody_for_anything(runs: tuple[Path, Path]) -> None:
    page = render(*map(read_run, runs))
    assert not re.search(r'(src|href)="(?!#)', page)
    assert "<script" not in page
    assert page == render(*map(read_run, runs))


def test_names_from_outside_cannot_become_markup(
    tree: dict[str, Any], runs: tuple[Path, Path], tmp_path: Path
) -> None:
    nasty = "<script>alert(1)<i>"
    tree["study"]["name"] = tree["study"]["endpoint"] = nasty
    tree["software"]["torch"] = nasty
    tree["selection"]["federated"]["clinical"]["svm"]["weights"][nasty] = 0.5
    study = (runs[0] / "study.toml").read_text(encoding="utf-8")
    other = write_run(tmp_path / nasty, tree, study.replace('"event"', f'"{nasty}"'))
    page = render(read_run(runs[0]), read_run(other))
    assert "<script" not in page and page.count("&lt;script&gt;alert(1)&lt;i&gt;") >= 7


def test_a_run_with_itself_differs_in_nothing(runs: tuple[Path, Path]) -> None:
    one = read_run(runs[0])
    page = render(one, one)
    assert "both runs have the same settings" in page
    assert "The same software" in page
    assert warnings(one, one) == []


def test_a_run_without_its_study_is_compared_in_everything_else(
    runs: tuple[Path, Path], without_study: Path
) -> None:
    done = give("--compare", without_study, runs[1])
    assert done.exit_code == 0, done.output
    assert "it has no study.toml" in done.output


def test_different_studies_are_warned_of(
    runs: tuple[Path, Path], tree: dict[str, Any], tmp_path: Path
) -> None:
    tree["study"]["endpoint"] = "death"
    tree["study"]["sites"] = tree["study"]["sites"][:2]
    for row in tree["performance"]:
        row["n"] += 1
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "results.json").write_text(json.dumps(tree), encoding="utf-8")
    other = read_run(tmp_path / "other")
    reported = " ".join(warnings(read_run(runs[0]), other))
    assert "endpoints differ" in reported
    assert "different sites" in reported
    assert "judge different patients" in comparison.auc_blocks(read_run(runs[0]), other)[0].note


def test_wrong_numbers_of_folders_are_refused(runs: tuple[Path, Path]) -> None:
    for arguments in (runs, ("--compare", runs[0]), (runs[0], "--out", runs[1])):
        assert isinstance(give(*arguments).exception, UsageError)


def test_a_folder_without_results_is_refused(runs: tuple[Path, Path], tmp_path: Path) -> None:
    assert isinstance(give("--compare", runs[0], tmp_path).exception, InputError)
