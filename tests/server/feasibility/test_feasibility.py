"""Hospitals check a study and share what the coordinator may know; the run then agrees."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from client import handlers
from client.check import first_pass
from common.disclosure.foretelling import Foretold
from common.disclosure.rule import TRAIN
from common.errors import InputError
from common.evaluation.sample_size import expected_width
from common.ledger.verify import read_entries
from common.messages.feasibility import FeasibilityReport
from common.study.model import load_study
from server.feasibility.assess import AREAS, Outlook, assess, lines
from server.report.results import read
from sim.equality.run import HEART, HEART_STUDY
from tests import builders
from tests.fixtures.programs import run_program, run_simulation

Refused = set[tuple[str, str]]
HEART_SITES = ["cleveland", "hungarian", "switzerland", "va"]
needs_heart = pytest.mark.skipif(not HEART.is_dir(), reason=f"NOT TESTED: no heart data in {HEART}")
# six hospitals; at two of them the outcome is rare
PATIENTS = {
    **{"a": (80, 30), "b": (60, 24), "c": (70, 21), "d": (50, 20)},
    **{"rare1": (60, 2), "rare2": (40, 3)},
}
COLUMNS = ("patient_id", "label", "split", "marker", "age", "sex", "stage")


def write_hospital(folder: Path, patients: int, positives: int, external: int = 0) -> None:
    rng = np.random.default_rng(patients)
    folder.mkdir(parents=True)
    with (folder / "cohort.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for i in range(patients + external):
            training = i < patients
            label = int(i < positives) if training else int(i % 3 == 0)
            split = "train" if training else "external_test"
            values = (f"{rng.normal(label):.3f}", f"{rng.normal(60, 8):.0f}")
            sex = "male" if i % 2 else "female"
            writer.writerow([f"p{i}", label, split, *values, sex, str(1 + i % 3)])


def study_of(folder: Path, sites: list[str]) -> Path:
    file = folder / f"study-{len(sites)}.toml"
    blocks = {
        **builders.TABULAR,
        "sites": sites,
        "tests": {"external_1": ("external_test", ["d"])},
    }
    builders.study_file(file, **blocks)
    return file


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("six")
    for name, (patients, positives) in PATIENTS.items():
        write_hospital(folder / name, patients, positives, external=9 if name == "d" else 0)
    return folder


def shared(folder: Path, study: Path, sites: list[str]) -> list[Path]:
    files = []
    for name in sites:
        out = folder / f"{name}-{study.stem}.json"
        own = ("--study", study, "--share", out, "--yes", "--bandwidth", "10")
        run_program("client", "check", folder / name, *own)
        files.append(out)
    return files


def assessed(study: Path, files: list[Path]) -> tuple[Outlook, Refused]:
    """Return the coordinator's outlook of the files, and who would refuse by which rules."""
    reports = [FeasibilityReport.read(file) for file in files]
    stops = {(one.site, rule.rule) for one in reports for rule in one.rules if rule.stops}
    return assess(load_study(study), reports), stops


def run_without_foresight(
    folder: Path, study: Path, sites: list[str], out: Path, monkeypatch: pytest.MonkeyPatch
) -> Refused:
    """Return who refuses by which rules where nobody looks ahead: the questions alone decide."""
    for module in (handlers, first_pass):
        monkeypatch.setattr(module, "foretold", lambda *_: Foretold((), ()))
    (folder / "study.toml").write_bytes(study.read_bytes())
    done = run_simulation(folder, sites, out)
    assert done.returncode == 1, done.stdout
    ledgers = {site: out / "sites" / site / "work" / "ledger.jsonl" for site in sites}
    entries = ((site, one) for site, ledger in ledgers.items() for one in read_entries(ledger))
    return {(site, one.reason) for site, one in entries if one.decision == "refused"}


def test_rules_that_refuse_are_foretold_and_the_questions_of_the_run_meet_them(
    hospitals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of(hospitals, list(PATIENTS))
    found, foretold = assessed(study, shared(hospitals, study, list(PATIENTS)))
    assert not found.feasible and found.trains == ("a", "b", "c", "d")
    assert {site for site, _ in foretold} == {"rare1", "rare2"}
    for rare in ("rare1", "rare2"):  # a run stops at the first refusal
        sites = [*found.trains, rare]
        own = study_of(hospitals, sites)
        met = run_without_foresight(hospitals, own, sites, tmp_path / rare, monkeypatch)
        assert met and met <= {one for one in foretold if one[0] == rare}


def agrees(folder: Path, study: Path, sites: list[str], out: Path, test_set: str) -> None:
    """Assert that a feasible study runs, with the counts, refusals, rounds and bytes foreseen."""
    ended = run_program(
        "server",
        "feasibility",
        study,
        *shared(folder, study, sites),
        "--json",
        "--page",
        out.with_suffix(".html"),
    )
    assert ended.returncode == 0, ended.stderr
    tree = json.loads(ended.stdout)
    assert "The study would run" in out.with_suffix(".html").read_text(encoding="utf-8")
    outlook = {one["name"]: one for one in tree["sets"]}
    (folder / "study.toml").write_bytes(study.read_bytes())
    assert run_simulation(folder, sites, out).returncode == 0
    results = read(out / "results.json")
    foreseen = {(site, r) for site, rules in outlook[test_set]["withheld"].items() for r in rules}
    assert foreseen, "nothing would be compared"
    assert foreseen == {(one.site, one.rule) for one in results.refusals if one.subset == test_set}
    row = next(row for row in results.performance if row.set == TRAIN)
    train = outlook[TRAIN]
    if train["complete"]:
        assert (train["patients"], train["positives"]) == (row.n, row.positives)
    assert sum(one.rounds for one in results.transfers if one.site == sites[0]) <= tree["rounds"]
    sent = max(sum(one.bytes_up for one in results.transfers if one.site == site) for site in sites)
    assert sent <= tree["bytes_up"]


def test_without_them_the_study_is_feasible_and_runs_with_what_was_foretold(
    hospitals: Path, tmp_path: Path
) -> None:
    sites = ["a", "b", "c", "d"]
    agrees(hospitals, study_of(hospitals, sites), sites, tmp_path / "run", "external_1")


@pytest.fixture
def heart(tmp_path: Path) -> Path:
    """Four real hospitals, at one of which 7 of 92 patients are without the disease."""
    for source in HEART.iterdir():
        (tmp_path / source.name).mkdir()
        shutil.copy(source / "cohort.csv", tmp_path / source.name)
    return tmp_path


@needs_heart
def test_of_four_real_hospitals_the_one_that_refuses_by_the_usual_thresholds_is_foretold(
    heart: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = heart / "usual.toml"
    study.write_text(HEART_STUDY.read_text(encoding="utf-8").partition("[privacy]")[0], "utf-8")
    found, foretold = assessed(study, shared(heart, study, HEART_SITES))
    assert not found.feasible and found.trains == ("cleveland", "hungarian", "va")
    assert {site for site, _ in foretold} == {"switzerland"}
    met = run_without_foresight(heart, study, HEART_SITES, heart / "run", monkeypatch)
    assert met and met <= foretold


@needs_heart
def test_four_real_hospitals_run_the_study_that_lets_them_with_what_was_foretold(
    heart: Path,
) -> None:
    study = heart / "low.toml"
    shutil.copy(HEART_STUDY, study)
    agrees(heart, study, HEART_SITES, heart / "run", "internal")


def test_counts_below_the_thresholds_are_not_shared(hospitals: Path) -> None:
    sites = list(PATIENTS)
    study = study_of(hospitals, sites)
    report = FeasibilityReport.read(shared(hospitals, study, ["rare1"])[0])
    (train,) = report.counts
    assert train.patients == 60 and train.positives is None
    text = report.to_text()
    assert "p59" not in text and "cohort" not in text.replace("cohort.", "")


def test_nothing_is_written_without_a_yes(hospitals: Path, tmp_path: Path) -> None:
    study = study_of(hospitals, list(PATIENTS))
    out = tmp_path / "out.json"
    ended = run_program("client", "check", hospitals / "a", "--study", study, "--share", out)
    assert not out.exists()
    assert '"counts"' in ended.stderr and "nothing else" in ended.stderr


def test_precision_is_that_of_hanley_and_mcneil(hospitals: Path) -> None:
    study = load_study(study_of(hospitals, ["a", "b", "c", "d"]))
    counts = [{"subset": "external_1", "patients": 120, "positives": 40}]
    report = FeasibilityReport(
        site="d",
        study=study.name,
        digest=study.digest(),
        release="0.1.0",
        device="cpu",
        cores=2,
        ready=True,
        open_checks=(),
        counts=counts,
        rules=(),
        load=(),
    )
    found = assess(study, [report])
    (outside,) = (one for one in found.sets if one.name == "external_1")
    assert outside.widths == {auc: expected_width(auc, 40, 80) for auc in AREAS}
    said = " ".join(lines(found))
    assert "No file of a, b, c" in said and "width of the interval" in said


def test_a_file_of_another_study_a_stranger_or_a_second_one_is_refused(hospitals: Path) -> None:
    sites = ["a", "b", "c", "d"]
    study = study_of(hospitals, sites)
    (one,) = (FeasibilityReport.read(file) for file in shared(hospitals, study, ["a"]))
    loaded = load_study(study)
    with pytest.raises(InputError, match="second file"):
        assess(loaded, [one, one])
    with pytest.raises(InputError, match="another version"):
        assess(loaded, [one.model_copy(update={"digest": "0" * 64})])
    with pytest.raises(InputError, match="not a hospital"):
        assess(loaded, [one.model_copy(update={"site": "z"})])
