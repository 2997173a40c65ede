"""A rehearsal: a real deployment on loopback gives the numbers of the in-process engine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common.study.model import load_study
from sim import rehearsal
from sim.rehearsal import differences, small_phantom


def rehearse(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sim", "rehearse", *(str(a) for a in arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=590)


@pytest.mark.slow
def test_a_deployment_on_loopback_agrees_with_the_in_process_engine(
    tabular: Path, tmp_path: Path
) -> None:
    sites = [tabular / name for name in ("a", "b", "c")]
    out = tmp_path / "rehearsal"
    done = rehearse(tabular / "study.toml", "--sites", *sites, "--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "both engines agree" in done.stdout
    (run,) = (out / "coordinator" / "runs").iterdir()
    assert (run / "report" / "index.html").is_file()
    # nothing of a patient is at the coordinator, nor a private key of a site
    key = (out / "hospitals" / "a" / "keys" / "identity.pem").read_bytes()
    # a whole row: a few bytes of it turn up in ciphertext by chance
    rows = (sites[0] / "cohort.csv").read_bytes().splitlines()[1:]
    row = next(row for row in rows if row.startswith(b"a17,"))
    assert len(row) > 12
    for path in (out / "coordinator").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert row not in content, path
            assert key not in content, path


def test_results_differ_in_any_number_but_times() -> None:
    one: dict[str, Any] = {
        "auc": [0.5, 0.25],
        "timing": {"a": 1.0},
        "run": {"engine": "deployment"},
    }
    assert differences(one, {**one, "timing": {}, "run": {}}) == []
    assert differences(one, {**one, "auc": [0.5, 0.25000001]}) == ["auc"]
    assert differences(one, {**one, "roc": []}) == ["roc"]


def test_the_phantom_of_a_rehearsal_has_every_model_and_little_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    def generate(folder: Path, seed: int, plan: Any) -> None:
        from sim.phantom.generate import study_text

        folder.mkdir()
        (folder / "study.toml").write_text(study_text(plan, seed), encoding="utf-8")
        made.append(plan)

    monkeypatch.setattr(rehearsal, "generate", generate)
    file, folders = small_phantom(tmp_path / "phantom", seed=1)
    study = load_study(file)
    assert [folder.name for folder in folders] == list(study.site_names)
    assert len(study.site_names) == 4
    assert set(study.base_models) == {"clinical", "radiomics", "dl2d", "dl3d"}
    assert (study.folds, study.dl2d.rounds, study.dl3d.rounds) == (3, 2, 2)


def test_a_study_needs_its_hospitals(tabular: Path) -> None:
    done = rehearse(tabular / "study.toml")
    assert done.returncode == 2
    assert "give both STUDY and --sites" in done.stderr


def test_a_folder_that_is_there_is_left_alone(tabular: Path, tmp_path: Path) -> None:
    sites = [tabular / name for name in ("a", "b", "c")]
    done = rehearse(tabular / "study.toml", "--sites", *sites, "--out", tmp_path)
    assert done.returncode == 1
    assert "give a fresh --out folder" in done.stderr
