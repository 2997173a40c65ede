"""Two runs on disk: one made up, the other with some of it changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.synthetic_results import build


@pytest.fixture
def tree() -> dict[str, Any]:
    return build()


def write_run(folder: Path, tree: dict[str, Any], study: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(tree), encoding="utf-8")
    (folder / "study.toml").write_text(study, encoding="utf-8")
    return folder


@pytest.fixture
def runs(tmp_path: Path, tree: dict[str, Any], tabular_master: Path) -> tuple[Path, Path]:
    study = (tabular_master / "study.toml").read_text(encoding="utf-8")
    first = write_run(tmp_path / "earlier", tree, study)
    for row in tree["performance"]:
        if (row["run"], row["set"], row["model"]) == ("federated", "internal", "dl3d"):
            row["auc"] = row["auc"] - 0.05
    model = tree["selection"]["federated"]["clinical"]
    for values in (model["coefficients"], model["svm"]["weights"]):
        values["another_feature"] = values.pop(next(iter(values)))
    tree["software"]["torch"] = "2.14.0"
    second = write_run(tmp_path / "later", tree, study.replace("seed = 11", "seed = 12"))
    return first, second


@pytest.fixture
def without_study(runs: tuple[Path, Path], tmp_path: Path) -> Path:
    shutil.copytree(runs[0], tmp_path / "bare")
    (tmp_path / "bare" / "study.toml").unlink()
    return tmp_path / "bare"
