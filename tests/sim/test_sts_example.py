"""The example on real CT: a part of its patients, all 1834 features, all six models."""

from __future__ import annotations

import csv
import json
import tomllib
from pathlib import Path

import pytest
import tomli_w

from tests.fixtures.programs import run_simulation

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data" / "sts"
CENTRES = ("centre_a", "centre_b", "centre_c")
# per centre: training patients of each class, test patients of each class, smallest tumours first
TRAINING, TESTING = 3, 1

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"the public sarcoma CTs are not in {DATA}"
)


def smallest(
    rows: list[dict[str, str]], split: str, label: str, count: int
) -> list[dict[str, str]]:
    chosen = [row for row in rows if row["split"] == split and row["label"] == label]
    return sorted(chosen, key=lambda row: float(row["max_diameter_cm"]))[:count]


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """A few patients of every centre, their files read in place, and a shortened study."""
    for centre in CENTRES:
        with (DATA / centre / "cohort.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        kept = [
            row
            for label in ("0", "1")
            for split, count in (("train", TRAINING), ("internal_test", TESTING))
            for row in smallest(rows, split, label, count)
        ]
        for row in kept:
            for column in ("image", "mask"):
                row[column] = str(DATA / centre / row[column])
        (tmp_path / centre).mkdir()
        with (tmp_path / centre / "cohort.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(kept[0]))
            writer.writeheader()
            writer.writerows(kept)
    study = tomllib.loads((ROOT / "examples" / "sts" / "study.toml").read_text(encoding="utf-8"))
    study["folds"] = 3
    study["dl2d"], study["dl3d"] = {"rounds": 1}, {"rounds": 1}
    study["privacy"] |= {"min_rows": 3, "min_rows_per_fold": 1, "min_class_per_fold": 0}
    (tmp_path / "study.toml").write_text(tomli_w.dumps(study), encoding="utf-8")
    return tmp_path


def test_real_ct_goes_through_the_whole_study(part: Path) -> None:
    done = run_simulation(part, CENTRES, part / "run", "--cache", part / "cache")
    assert done.returncode == 0, done.stderr + done.stdout
    results = json.loads((part / "run" / "results.json").read_text(encoding="utf-8"))
    steps = results["selection"]["federated"]["radiomics"]["steps"]
    assert steps[0] == {"step": "columns", "names": None, "count": 1834}
    rows = [row for row in results["performance"] if row["set"] == "internal"]
    assert {row["model"] for row in rows} == {
        "clinical",
        "radiomics",
        "dl2d",
        "dl3d",
        "fusion_feature",
        "fusion_decision",
    }
    assert all(row["n"] == 6 for row in rows)
    assert any(
        "no repeat readings" in n for n in results["selection"]["federated"]["radiomics"]["notes"]
    )
    assert (part / "run" / "report" / "index.html").is_file()
