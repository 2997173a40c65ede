"""A study of a time to event at six centres: few events, binary columns, from file to report."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sksurv.metrics import (
    concordance_index_censored,
    concordance_index_ipcw,
    cumulative_dynamic_auc,
)
from sksurv.util import Surv
from statsmodels.duration.hazard_regression import PHReg
from statsmodels.duration.survfunc import SurvfuncRight, survdiff

from client.data.cohort import read_cohort
from client.data.tables import clinical_table
from client.report.site_report import render
from client.report.site_run import read_site_run
from client.report.timed import followed_of
from common.bundle.bundle import Bundle, read_files
from common.dossier.disclosure import Disclosure
from common.errors import InputError
from common.masking import identity
from common.messages.validation import ValidationReport
from common.statistics.base import Rows
from common.study.model import Study, load_study
from common.transforms import Linear
from common.transforms.views import materialise
from server.commands.collect import receive
from server.phases.program import declared_phases
from sim.sites import COORDINATOR, simulated_identity
from tests import builders
from tests.fixtures.programs import run_program, run_simulation
from tests.fixtures.staging import staging_model
from tests.sim.test_dossier import fits

KEY = identity.public_text(simulated_identity(COORDINATOR).public_key())
NAMES = "abcdef"
PATIENTS = (230, 180, 150, 130, 120, 110)
COLUMNS = ("t4", "node", "male", "p53", "age")
ENDS = [3.0, 6.0, 9.0, 12.0, 18.0, 24.0, 36.0, 48.0]
GRID = {"column": "months", "ends": ENDS, "horizons": [12.0, 24.0]}


def write_centres(folder: Path) -> None:
    """Write cohorts as TCGA's are: about one in six had the event, four of five columns binary."""
    random = np.random.default_rng(3)
    for centre, (name, n) in enumerate(zip(NAMES, PATIENTS, strict=True)):
        (folder / name).mkdir(parents=True)
        binary = random.random((n, 4)) < np.array([0.3, 0.4, 0.55, 0.25]) + 0.02 * centre
        age = random.normal(62, 9, n)
        risk = binary @ [0.9, 0.7, 0.0, -0.8] + 0.03 * (age - 62) + 0.2 * (centre - 2)
        time = 110 * random.weibull(1.1, n) / np.exp(risk)
        leaves = random.uniform(2, 45, n)
        with (folder / name / "cohort.csv").open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow(["patient_id", "label", "split", "months", *COLUMNS])
            for i in range(n):
                split = "train" if i % 10 < 7 else "internal_test"
                outside = i % 10 >= {"a": 8, "b": 8, "c": 8, "f": 9}.get(name, 10)
                split = "external_test" if outside else split
                months = round(float(min(time[i], leaves[i])), 1)
                cells = ["yes" if one else "no" for one in binary[i]]
                row = [f"{name}{i}", int(time[i] <= leaves[i]), split, months, *cells]
                out.writerow([*row, round(float(age[i]), 1)])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with staging_model():
        yield finished(tmp_path_factory)


def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("centres")
    write_centres(folder)
    text = builders.study_text(
        sites=NAMES,
        tests={
            "internal": ("internal_test", NAMES),
            "external": ("external_test", "a"),
            "pair": ("external_test", "bc"),
            "few": ("external_test", "f"),
        },
        clinical=[
            *(builders.levels(name, "no", "yes") for name in COLUMNS[:4]),
            builders.number("age"),
        ],
        base_models=["clinical", "staging"],
        fusion_models=["fusion_decision"],
        follow_up=GRID,
        privacy={"min_class_per_fold": 1, "masking": "where_possible"},
    )
    (folder / "study.toml").write_text(text, encoding="utf-8")
    out = folder / "run"
    done = run_simulation(folder, tuple(NAMES), out)
    assert done.returncode == 0, done.stderr + done.stdout
    return out


def results_of(run: Path) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads((run / "results.json").read_text(encoding="utf-8"))
    return tree


def pooled(run: Path, study: Study, split: str) -> Rows:
    """Return the clinical tables of all hospitals, `origin` being the hospital."""
    parts = []
    for number, name in enumerate(NAMES):
        found = read_cohort(run.parent / name, name, study).patients
        patients = [one for one in found if one.split == split]
        label, fold, period = zip(*((p.label, p.fold, p.period) for p in patients), strict=True)
        parts.append(
            (clinical_table(patients, study), label, fold, period, [number] * len(patients))
        )
    values, label, fold, period, origin = (np.concatenate(own) for own in zip(*parts, strict=True))
    return Rows(values, study.clinical_columns, label * 1.0, fold, None, origin, None, period)


class Pooled:
    """All hospitals' rows, as `materialise` reads them."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def read(self, name: str, subset: str) -> Rows:
        del name, subset
        return self.rows


def model_of(run: Path, name: str = "clinical") -> Any:
    return Bundle.from_files(read_files(run / "bundle")).models[name]


def row_of(run: Path, subset: str, model: str = "clinical") -> dict[str, Any]:
    rows = results_of(run)["follow_up"]
    (row,) = [one for one in rows if (one["set"], one["model"]) == (subset, model)]
    return row


def test_the_model_is_a_cox_model_within_hospitals(run: Path) -> None:
    study = load_study(run / "study.toml")
    rows, model = pooled(run, study, "train"), model_of(run)
    assert 0.1 < rows.label.mean() < 0.3
    linear = next(step for step in model.transforms if isinstance(step, Linear))
    cox = results_of(run)["selection"]["federated"]["clinical"]["cox"]
    assert cox["log_hazard_ratios"] == dict(zip(linear.columns, linear.weights, strict=True))
    # the ridge penalty shrinks; signs and order are those of statsmodels
    place = [rows.columns.index(name) for name in linear.columns]
    values = rows.values[:, place]
    z = (values - values.mean(axis=0)) / values.std(axis=0)
    status = rows.label.astype(int)
    fitted = PHReg(rows.period, z, status=status, ties="breslow", strata=rows.origin).fit()
    assert np.corrcoef(fitted.params, linear.weights)[0, 1] > 0.98
    assert set(linear.columns) >= {"t4=yes", "node=yes", "p53=yes"}


def test_the_fusions_weights_stand_in_results_report_and_full_model(run: Path) -> None:
    fusion = results_of(run)["fusion"]["federated"]
    model, cox = model_of(run, "fusion_decision"), fusion["cox"]
    *_, hazards, line, risk = model.transforms
    assert (fusion["used"], fusion["candidates"]) == ("cox", [])
    assert cox["log_hazard_ratios"] == dict(zip(line.columns, line.weights, strict=True))
    assert set(cox["log_hazard_ratios"]) == {"clinical", "staging"} and cox["baseline"] == risk.b
    page = (run / "report" / "index.html").read_text(encoding="utf-8")
    shown = page.split('id="fusion"')[1].split("</details>")[0]
    ratio = f"{np.exp(cox['log_hazard_ratios']['clinical']):.3f}"
    assert "Hazard ratio" in shown and ratio in shown and "Cross-validated AUC" not in shown
    with (run / "manuscript" / "model-fusion_decision.csv").open(encoding="utf-8") as file:
        found = [one for one in csv.DictReader(file) if not one["part"]]
    told = {(one["does"], one["column"], one["quantity"]): one["value"] for one in found}
    for place, name in enumerate(line.columns):
        assert float(told["Linear", name, "weights"]) == line.weights[place]
        assert float(told["LogHazard", name, "scale"]) == hazards.scale[place]
    assert float(told["EventRisk", "", "b"]) == risk.b


def test_the_fusion_of_the_whole_study_ranks_as_pooled_patients_do(run: Path) -> None:
    study = load_study(run / "study.toml")
    rows, found = pooled(run, study, "internal_test"), row_of(run, "internal", "fusion_decision")
    model = model_of(run, "fusion_decision")
    risk = materialise(model, Pooled(rows), "train").values[:, 0]
    happened, time = rows.label > 0.5, rows.period + 1.0
    harrell = concordance_index_censored(happened, time, risk, tied_tol=0)[0]
    assert found["harrell"] == pytest.approx(harrell, abs=2e-3)
    assert found["harrell"] > 0.6


def test_measures_of_the_spread_test_set_are_those_of_all_patients_together(run: Path) -> None:
    study = load_study(run / "study.toml")
    rows, found = pooled(run, study, "internal_test"), row_of(run, "internal")
    risk = materialise(model_of(run), Pooled(rows), "train").values[:, 0]
    happened, time = rows.label > 0.5, rows.period + 1.0
    assert (found["n"], found["events"]) == (rows.n, happened.sum())
    harrell = concordance_index_censored(happened, time, risk, tied_tol=0)[0]
    assert found["harrell"] == pytest.approx(harrell, abs=2e-3)
    assert found["harrell_low"] < harrell < found["harrell_high"]
    outcome = Surv.from_arrays(happened, time - 0.25 * happened)
    uno = concordance_index_ipcw(outcome, outcome, risk, tied_tol=0)[0]
    assert found["uno"] == pytest.approx(uno, abs=5e-3)
    areas, _ = cumulative_dynamic_auc(outcome, outcome, risk, np.array([4.0, 6.0]), tied_tol=0)
    assert [one["horizon"] for one in found["areas"]] == [12.0, 24.0]
    np.testing.assert_allclose([one["auc"] for one in found["areas"]], areas, atol=5e-3)
    high = (risk >= found["cutoff"]).astype(int)
    statistic, p = survdiff(rows.period, rows.label, high)
    assert found["log_rank"] == pytest.approx(statistic, rel=1e-6)
    assert found["p"] == pytest.approx(p, rel=1e-5)
    statistic, _ = survdiff(rows.period, rows.label, high, strata=rows.origin)
    assert found["log_rank_within"] == pytest.approx(statistic, rel=1e-6)


def test_life_tables_of_joined_periods_are_near_the_curves_of_all_periods(run: Path) -> None:
    study = load_study(run / "study.toml")
    rows, found = pooled(run, study, "internal_test"), row_of(run, "internal")
    risk = materialise(model_of(run), Pooled(rows), "train").values[:, 0]
    for group, chosen in zip(found["groups"], (risk < found["cutoff"], risk >= found["cutoff"]),
                             strict=True):  # fmt: skip
        last = np.array([ENDS.index(time) for time in group["times"]])
        curve = SurvfuncRight(rows.period[chosen], rows.label[chosen])
        at = np.searchsorted(curve.surv_times, last, side="right") - 1
        expected = np.where(at < 0, 1.0, curve.surv_prob[np.maximum(at, 0)])
        np.testing.assert_allclose(group["survival"], expected, atol=0.06)
        for counts in (group["events"], group["censored"]):
            assert all(count == 0 or count >= study.privacy.min_cell for count in counts)


def test_observed_risks_are_those_of_all_patients_together(run: Path) -> None:
    study = load_study(run / "study.toml")
    rows, found = pooled(run, study, "internal_test"), row_of(run, "internal")
    risk = materialise(model_of(run), Pooled(rows), "train").values[:, 0]
    curve = SurvfuncRight(rows.period, rows.label)
    at_horizon = curve.surv_prob[np.searchsorted(curve.surv_times, 3, side="right") - 1]
    assert found["observed"] == pytest.approx(1 - at_horizon, abs=1e-12)
    assert found["predicted"] == pytest.approx(risk.mean(), abs=0.005)
    assert found["observed_low"] < found["predicted"] < found["observed_high"]
    shown = [group for group in found["calibration"] if group["n"] is not None]
    assert len(shown) >= 3 and shown[0]["predicted"] < shown[-1]["predicted"]


def test_a_hospital_measures_the_set_that_it_alone_holds(run: Path, tmp_path: Path) -> None:
    file = outside(run, "a", tmp_path / "a", split="external_test")
    study, report = load_study(run / "study.toml"), ValidationReport.read(file)
    told = report.follow_up(study.time_grid)
    for place, name in enumerate(report.models):
        found = row_of(run, "external", name)
        assert (found["n"], found["events"]) == (report.patients, report.positives)
        assert [found["harrell"], found["uno"]] == [told.harrell[place, 0], told.uno[place, 0]]
        assert [one["auc"] for one in found["areas"]] == told.areas[place, :, 0].tolist()
        for group in found["groups"]:
            counts = np.array([*group["events"], *group["censored"]])
            assert not ((counts > 0) & (counts < study.privacy.min_cell)).any()


def test_two_hospitals_measure_their_own_patients_of_the_set_that_they_share(run: Path) -> None:
    assert row_of(run, "pair")["note"].startswith("withheld")
    rows = [one for one in results_of(run)["site_performance"] if one["set"] == "pair"]
    assert {one["site"] for one in rows} == {"b", "c"}
    assert all(one["auc"] == np.round(one["auc"], 3) for one in rows)


def test_a_set_of_few_patients_at_one_hospital_is_withheld_and_says_so(run: Path) -> None:
    found = row_of(run, "few")
    assert found["note"].startswith("withheld") and found["harrell"] is None
    rows = [one for one in results_of(run)["performance"] if one["set"] == "few"]
    assert len(rows) == 3
    assert all(one["auc"] is None and one["method"].startswith("withheld") for one in rows)


def test_the_page_shows_survival_and_says_what_times_are(run: Path) -> None:
    page = (run / "report" / "index.html").read_text(encoding="utf-8")
    assert "How long patients stay free of the event" in page
    assert "on a grid of 8 periods up to 48 months" in page
    assert "Youden" not in page.split('id="settings"')[0]
    assert (run / "figures" / "survival-clinical-internal.svg").is_file()


def test_a_prediction_is_the_risk_by_the_first_horizon(run: Path, tmp_path: Path) -> None:
    values = ",".join(["t4=yes", "node=yes", "male=no", "p53=no", "age=70"])
    own = ("--clinical", values, "--coordinator-key", KEY, "--out", tmp_path)
    done = run_program("client", "predict", run / "bundle", *own)
    assert done.returncode == 0, done.stderr + done.stdout
    (page,) = tmp_path.rglob("*.html")
    assert "Predicted risk of event within 12 months" in page.read_text(encoding="utf-8")
    (found,) = json.loads((tmp_path / "prediction.json").read_text())["patients"]
    study = load_study(run / "study.toml")
    score, *others = found["models"]
    assert [one["model"] for one in others] == ["staging", "fusion_decision"]
    rows = Rows(np.array([[1.0, 1.0, 0.0, 0.0, 70.0]]), study.clinical_columns, *np.zeros((2, 1)))
    expected = materialise(model_of(run), Pooled(rows), "train").values[0, 0]
    assert score["probability"] == pytest.approx(expected, rel=1e-9)


def outside(run: Path, centre: str, folder: Path, most: int = 1000, split: str = "") -> Path:
    """Let a hospital validate the models on some of its patients; return what it may send."""
    with (run.parent / centre / "cohort.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if split in row["split"]][:most]
    folder.mkdir()
    with (folder / "cohort.csv").open("w", encoding="utf-8", newline="") as file:
        out = csv.DictWriter(
            file, [name for name in rows[0] if name != "split"], extrasaction="ignore"
        )
        out.writeheader()
        out.writerows(rows)
    own = ("--cohort", folder / "cohort.csv", "--coordinator-key", KEY, "--hospital", centre)
    done = run_program("client", "validate", run / "bundle", *own, "--out", folder / "out")
    assert done.returncode == 0, done.stderr + done.stdout
    return folder / "out" / "validation.json"


@pytest.fixture(scope="module")
def sent(run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("outside")
    return [outside(run, centre, folder / centre) for centre in "abc"]


def test_a_hospital_outside_sends_joined_measures_of_its_own_times(
    run: Path, sent: list[Path]
) -> None:
    study, report = load_study(run / "study.toml"), ValidationReport.read(sent[0])
    found = report.follow_up(study.time_grid)
    patients = read_cohort(run.parent / "a", "a", study).patients
    label, period = zip(*((p.label, p.period) for p in patients), strict=True)
    happened, time = np.array(label) > 0, np.array(period) + 1.0
    assert (report.patients, report.positives) == (len(patients), happened.sum())
    fold = np.zeros(len(patients), dtype=np.int64)
    rows = Rows(clinical_table(patients, study), study.clinical_columns, happened * 1.0, fold)
    for place, name in enumerate(report.models):
        risk = materialise(model_of(run, name), Pooled(rows), "train").values[:, 0]
        exact = concordance_index_censored(happened, time, risk, tied_tol=0)[0]
        # patients of neighbouring ranks count as tied
        assert found.harrell[place, 0] == pytest.approx(exact, abs=0.02)
        assert found.harrell[place, 0] == np.round(found.harrell[place, 0], 3)
        group = found.groups[place]
        counts = np.concatenate([group.events, group.censored])
        assert group.last.size and not ((counts > 0) & (counts < report.min_cell)).any()
    text = sent[0].read_text(encoding="utf-8")
    assert "a17" not in text
    page = (sent[0].parent / "index.html").read_text(encoding="utf-8")
    assert "Concordance (Harrell)" in page and "AUC at 24 months" in page
    assert "Brier" not in page and "Sensitivity" not in page


def test_the_coordinator_summarises_what_hospitals_send(
    run: Path, sent: list[Path], tmp_path: Path
) -> None:
    few = outside(run, "d", tmp_path / "d", most=8)
    done = run_program("server", "collect", run, *sent, few, "--out", tmp_path / "all")
    assert done.returncode == 0, done.stderr + done.stdout
    rows = {(row["set"], row["model"]): row for row in results_of(tmp_path / "all")["follow_up"]}
    report = ValidationReport.read(sent[1])
    found = report.follow_up(load_study(run / "study.toml").time_grid)
    assert rows["b", "clinical"]["harrell"] == found.harrell[0, 0]
    assert rows["d", "clinical"]["note"].startswith("withheld")
    with (tmp_path / "all" / "tables" / "heterogeneity.csv").open(encoding="utf-8") as file:
        summary = {(row["model"], row["horizon"]): row for row in csv.DictReader(file)}
    for place, horizon in enumerate(("12.0", "24.0")):
        areas = [rows[name, "clinical"]["areas"][place]["auc"] for name in "abc"]
        assert min(areas) < float(summary["clinical", horizon]["auc"]) < max(areas)
    page = (tmp_path / "all" / "report" / "index.html").read_text(encoding="utf-8")
    assert "How long patients stay free of the event" in page
    assert "External validation test set, at 24 months" in page
    assert page.count("Mean over hospitals") == 2


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m["harrell"].update(__values__=[2.0] * 6),
        lambda m: m["groups"][0]["last"]["__values__"].__setitem__(-1, 99.0),
        lambda m: m["groups"][0]["last"]["__values__"].__setitem__(0, 0.5),
        lambda m: m["groups"].pop(),
        lambda m: m.update(patients=1),
        lambda m: m.update(shown=False),
        lambda m: m.update(groups=[1, 2, 3]),
        lambda m: m.update(__class__="Evaluation"),
    ],
)
def test_measures_of_times_that_cannot_be_are_refused(
    run: Path, sent: list[Path], tmp_path: Path, spoil: Any
) -> None:
    tree = json.loads(sent[0].read_text(encoding="utf-8"))
    spoil(tree["measures"])
    key = identity.generate()
    own = {**tree, "identity_key": identity.public_text(key.public_key())}
    file = tmp_path / "made-up.json"
    file.write_bytes(ValidationReport.model_validate(own).signed_by(key).to_bytes())
    with pytest.raises(InputError, match="cannot read"):
        receive([file], read_files(run / "bundle"))


def test_the_manuscript_names_cox_models_and_no_measure_of_yes_and_no(run: Path) -> None:
    (page,) = (run / "manuscript").glob("*.html")
    text = page.read_text(encoding="utf-8")
    assert "a Cox model with a ridge penalty, stratified by hospital" in text
    assert "concordance (Harrell, Uno)" in text
    assert "Youden" not in text and "Platt" not in text


def test_every_sum_in_the_ledgers_is_covered_by_a_line_of_the_dossier(run: Path) -> None:
    planned: dict[tuple[str, str], list[Disclosure]] = defaultdict(list)
    for phase in declared_phases(load_study(run / "study.toml")):
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
    assert {"CoxGradient", "RiskSums", "LifeTable", "LogRank", "RankedPairs"} <= seen
    assert not seen & {"SvmGradient", "PlattSums", "Confusion", "ClassHistogram"}


def test_the_hospitals_own_page_measures_times_and_not_yes_and_no(run: Path) -> None:
    own = read_site_run(run / "sites" / "a", None)
    page = render(own)
    (found, _), without = followed_of(own)
    assert without == []
    scores = own.table("scores", "internal")
    assert scores is not None
    patients = {one.patient_id: one for one in own.patients("internal")}
    ended = [(patients[name].label, patients[name].period) for name in scores.patients]
    label, period = (np.array(one) for one in zip(*ended, strict=True))
    for place, line in enumerate(found[2].lines):
        risk = scores.values[:, place]
        exact = concordance_index_censored(label > 0, period + 1.0, risk, tied_tol=0)[0]
        assert line.cells[0].text == f"{exact:.3f}"
        assert f"{exact:.3f}" in page
        predicted = line.cells[-3].text
        assert float(predicted) == pytest.approx(risk.mean(), abs=1e-3)
    assert "Concordance (Harrell)" in page and "Without the event" in page
    assert "ROC curves" not in page
