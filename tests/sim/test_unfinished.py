"""Finished results are written, even if the rest fails."""

from __future__ import annotations

import json
from pathlib import Path

from tests.sim.test_tabular_study import run_study


def test_a_reference_that_fails_takes_no_result_of_the_others_away(
    tabular: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    (out / "references" / "pooled").mkdir(parents=True)
    # a file where the reference wants a folder
    (out / "references" / "pooled" / "checkpoint").touch()
    done = run_study(tabular, out, "--reference", "pooled")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "pooled: " in done.stderr
    assert "File exists" in done.stderr
    assert "report:" in done.stdout
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert {row["run"] for row in results["performance"]} == {"federated"}
    (warning,) = [text for text in results["warnings"] if text.startswith("No reference: pooled")]
    assert "File exists" in warning
    assert (out / "report" / "index.html").is_file()

    # authors may have begun to fill this in
    (out / "manuscript" / "reporting.toml").write_text("ethics = ", encoding="utf-8")
    (out / "references" / "pooled" / "checkpoint").unlink()
    done = run_study(tabular, out, "--reference", "pooled")
    assert done.returncode == 0, done.stderr
    assert "no new folder manuscript" in done.stdout
    assert "this run was complete; its results are taken as they are" in done.stdout
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert {row["run"] for row in results["performance"]} == {"federated", "pooled"}
    assert not [text for text in results["warnings"] if "No reference" in text]


def test_a_file_in_place_of_the_runs_folder_is_said_in_a_sentence(
    tabular: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        done = run_study(tabular, out)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert f"error {out}: " in done.stderr
