"""Marks planted in patient ids, values and scores are in no file that the coordinator writes."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from client.store.run_files import RunTables
from tests.sim.test_tabular_study import run_study

ID_MARK, VALUE_MARK = "zqxmark", "7654321"
# what the coordinator has; `sites` and `references` are the hospitals'
SERVER = ("report", "tables", "figures", "bundle", "checkpoint", "results.json", "run.json")
SERVER_FILES = ("transfers.csv", "events.jsonl", "privacy-dossier.md", "study.toml")


def _plant(cohort: Path) -> None:
    """Mark every id, and the digits of every value of one column."""
    with cohort.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        row["patient_id"] = f"{ID_MARK}{cohort.parent.name}{number}"
        row["marker"] = f"{float(row['marker']):.2f}{VALUE_MARK}{number % 10}"
    with cohort.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def marked(tabular_master: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("marked")
    shutil.copytree(tabular_master, folder / "hospitals")
    for name in ("a", "b", "c"):
        _plant(folder / "hospitals" / name / "cohort.csv")
    done = run_study(folder / "hospitals", folder / "run", whole=True)
    assert done.returncode == 0, done.stderr
    assert ID_MARK not in done.stdout + done.stderr
    return folder / "run"


def _server_files(run: Path) -> list[Path]:
    found = []
    for name in (*SERVER, *SERVER_FILES):
        path = run / name
        found += [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return found


def _scores(run: Path) -> np.ndarray:
    """Return the scores of all test patients, as the hospitals keep them."""
    found = []
    for path in run.glob("sites/*/work/runs/*/scores.*.npz"):
        subset = path.stem.removeprefix("scores.")
        table = RunTables(path.parents[2], path.parent.name).read("scores", subset)
        assert all(patient.startswith(ID_MARK) for patient in table.patients)
        found.append(table.values.ravel())
    return np.concatenate(found)


def test_no_mark_is_in_any_file_of_the_coordinator(marked: Path) -> None:
    files = _server_files(marked)
    assert len(files) > 20
    assert any(
        ID_MARK in p.read_text(encoding="utf-8") for p in marked.glob("../hospitals/*/*.csv")
    )
    for path in files:
        data = path.read_bytes()
        assert ID_MARK.encode() not in data, path
        assert VALUE_MARK.encode() not in data, path


def test_no_score_of_a_patient_is_in_the_results_or_the_arrays(marked: Path) -> None:
    scores = _scores(marked)
    assert scores.size > 60
    text = "".join(
        path.read_text(encoding="utf-8")
        for path in _server_files(marked)
        if path.suffix in (".json", ".jsonl", ".csv", ".html", ".svg", ".toml", ".md")
    )
    numbers = {float(n) for n in re.findall(r"0\.\d{6,}(?:e-?\d+)?", text)}
    assert not numbers & set(scores.tolist())
    arrays = b"".join(p.read_bytes() for p in _server_files(marked) if p.suffix == ".safetensors")
    assert arrays
    assert not [score for score in scores if np.float64(score).tobytes() in arrays]


def test_the_subgroups_of_the_marked_study_are_there(marked: Path) -> None:
    results = json.loads((marked / "results.json").read_text(encoding="utf-8"))
    assert {row["variable"] for row in results["strata"]} == {"sex"}
    released = {row["site"]: 0 for row in results["ledger"]}
    for row in results["ledger"]:
        released[row["site"]] += row["released"]
    for site, count in released.items():
        assert count == sum(r["messages"] for r in results["transfers"] if r["site"] == site)
