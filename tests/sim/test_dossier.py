"""The requests and replies of whole runs lie within the dossier written before."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from common.dossier.disclosure import Disclosure
from common.study.model import Study, load_study
from server.phases.program import declared_phases
from tests import builders
from tests.conftest import IMAGING_SITES
from tests.fixtures.programs import run_simulation

pytestmark = pytest.mark.slow
BINS: dict[str, Any] = {
    "base_models": ["clinical", "radiomics"],
    "fusion": {"pooling": "bins", "trees": 3},
    "svm": {"kernel": "rbf", "landmarks": 16, "max_rounds": 5},
}


@pytest.fixture(scope="module", params=["rows", "bins"])
def run(request: pytest.FixtureRequest) -> Path:
    """A finished study with every model; one that pools counts in bins, and an RBF kernel."""
    name = {"rows": "imaging_run", "bins": "run_of_bins"}[request.param]
    finished: Path = request.getfixturevalue(name)
    return finished


@pytest.fixture(scope="module")
def run_of_bins(
    imaging_master: Path, imaging_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("dossier")
    for name in IMAGING_SITES:
        (folder / name).symlink_to(imaging_master / name)
    shutil.copy(imaging_master / "study.toml", folder)
    builders.amend(folder / "study.toml", **BINS)
    out = folder / "run"
    done = run_simulation(folder, IMAGING_SITES, out, "--cache", imaging_cache)
    assert done.returncode == 0, done.stderr + done.stdout
    return out


def study_of(run: Path) -> Study:
    return load_study(run / "study.toml")


def numbers(shape: str) -> int:
    return math.prod(int(axis.replace(",", "")) for axis in shape.split(" x "))


def fits(item: dict[str, Any], planned: list[Disclosure]) -> bool:
    """Return whether some line of the dossier covers this entry of a ledger."""
    return any(
        set(item["shapes"]) == set(one.parts)
        and all(math.prod(own) <= numbers(one.parts[p]) for p, own in item["shapes"].items())
        and one.masked == (len(item["participants"]) > 1)
        for one in planned
    )


def test_every_sum_in_the_ledgers_is_covered_by_a_line(run: Path) -> None:
    planned: dict[tuple[str, str], list[Disclosure]] = defaultdict(list)
    for phase in declared_phases(study_of(run)):
        for one in phase.asked:
            planned[one.what, one.subset].append(one)
    seen = set()
    for ledger in run.glob("sites/*/work/ledger.jsonl"):
        for line in ledger.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            for item in entry["items"] if entry["exchange"] == "query.sum" else ():
                key = (item["what"].partition(":")[0], item["subset"])
                assert fits(item, planned[key]), (key, item["shapes"])
                seen.add(key[0])
    assert {"FoldGram", "SvmGradient", "PlattSums", "LevelCounts", "ClassHistogram"} <= seen


def test_rounds_and_bytes_of_every_phase_are_within_the_bounds(run: Path) -> None:
    study = study_of(run)
    with (run / "transfers.csv").open(newline="", encoding="utf-8") as file:
        transfers = list(csv.DictReader(file))
    phases = {phase.name: phase for phase in declared_phases(study)}
    assert {row["phase"] for row in transfers} <= set(phases)
    for name, phase in phases.items():
        own = [row for row in transfers if row["phase"] == name]
        rounds = {row["exchange"]: int(row["rounds"]) for row in own}
        assert sum(rounds.values()) <= phase.rounds, name
        a_patient = sum(one.size for one in phase.asked if one.by_patient)
        for site in study.site_names:
            sent = sum(int(row["bytes_up"]) for row in own if row["site"] == site)
            # each of three training hospitals has 20 training patients
            assert sent <= phase.bytes_up(study, site) + 60 * a_patient, (name, site)
            if name in ("dl2d", "dl3d") and sent:
                # Platt's rounds end early
                assert sent > 0.8 * phase.bytes_up(study, site)


def test_the_run_leaves_its_dossier_with_what_was_measured(run: Path) -> None:
    text = (run / "privacy-dossier.md").read_text(encoding="utf-8")
    assert text.startswith("# Privacy dossier of the study ")
    assert study_of(run).digest() in text
    assert "rounds measured" in text
    assert "no key in the study file" not in text
