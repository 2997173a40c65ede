"""Federated statistics against pooled ones: a small form of `make equality`, and its references."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.svm import LinearSVC
from typer.testing import CliRunner

from client import handlers
from client.workspace import Workspace
from common.messages.exchanges import SumReply, SumRequest
from common.study.model import parse_study
from sim.cli import app
from sim.engines.inprocess import SERVER_NODE, task_identity
from sim.equality import label_free, references, run, sites
from sim.equality.findings import Bound, Finding, Findings, at_most
from sim.equality.run import STUDY, Comparison, compare_heart, compare_synthetic
from sim.equality.synthetic import FULL, SMALL, generate
from sim.sites import with_identities


def silent(text: str) -> None:
    """No progress in a test."""


def missed(lines: list[Finding]) -> list[str]:
    return [
        f"{line.step}: {line.measure} {line.error} {line.bound}" for line in lines if not line.ok
    ]


def test_a_small_synthetic_cohort_keeps_every_bound() -> None:
    lines = compare_synthetic(SMALL, silent)
    assert not missed(lines)
    steps = " ".join(line.step for line in lines if line.bound is not None)
    for step in ("z-score", "B = 64", "B = 256", "ICC", "LASSO", "SVM", "Platt", "PCA",
                 "ComBat", "keeping age, sex", "DeLong", "Table 1", "model, whole",
                 "time to event: Cox", "time to event: measures", "discrete hazards"):  # fmt: skip
        assert step in steps
    traffic = [line for line in lines if line.rounds]
    assert all(line.kilobytes and line.kilobytes > 0 for line in traffic)


@pytest.mark.skipif(not run.HEART.is_dir(), reason=f"no heart data in {run.HEART}")
def test_the_heart_data_keep_every_bound() -> None:
    lines = compare_heart(run.HEART, silent)
    assert not missed(lines)
    assert {"clinical: LASSO", "clinical: SVM", "clinical: Platt"} <= {
        line.step.split(",")[0] for line in lines
    }


def test_a_site_whose_sums_are_slightly_wrong_is_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer_sums = handlers.answer_sums

    def wrong(workspace: Workspace, request: SumRequest) -> Any:
        reply = answer_sums(workspace, request)
        assert isinstance(reply, SumReply)
        ring64 = reply.ring64.copy()
        # one patient too few in a count: one too many would stop the run at once
        ring64[0] -= np.uint64(workspace.name == "west")
        return dataclasses.replace(reply, ring64=ring64)

    monkeypatch.setattr(handlers, "answer_sums", wrong)
    study = with_identities(parse_study(STUDY))
    cohort = generate(dataclasses.replace(SMALL, features=20), 1)
    with task_identity(SERVER_NODE):
        workspaces = sites.synthetic_sites(cohort, study, tmp_path)
        one = Comparison.over(workspaces, study, "wrong")
        pooled = sites.pooled_rows(workspaces, study, "radiomics", "train")
        label_free.compare_standardise(one.findings, one.federation, pooled)
    assert any("SD, relative" in text for text in missed(one.findings.lines))


def one_line(error: float) -> list[Finding]:
    findings = Findings("made up")
    findings.step("z-score", "nobody", (2, 1.5)).add("SD", error, at_most(1e-9))
    return findings.lines


@pytest.mark.parametrize(("error", "code"), [(1e-12, 0), (1e-3, 1), (float("nan"), 1)])
def test_a_missed_bound_makes_the_command_fail(
    monkeypatch: pytest.MonkeyPatch, error: float, code: int
) -> None:
    monkeypatch.setattr(run, "compare_synthetic", lambda plan, tell: one_line(error))
    done = CliRunner().invoke(app, ["equality", "--only", "synthetic", "--json"])
    assert done.exit_code == code
    record = json.loads(done.stdout)
    assert record["ok"] is (code == 0)
    assert record["findings"][0]["rounds"] == 2
    assert record["findings"][0]["ok"] is (code == 0)


def test_heart_data_that_are_not_there_are_named_or_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(run, "compare_synthetic", lambda plan, tell: one_line(0.0))
    nowhere = str(tmp_path / "nowhere")
    done = CliRunner().invoke(app, ["equality", "--heart", nowhere, "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["left_out"] == [f"heart data: there is no {nowhere}"]
    alone = CliRunner().invoke(app, ["equality", "--only", "heart", "--heart", nowhere])
    assert "there is no" in str(alone.exception)


def test_a_bound_is_never_kept_by_what_is_no_number() -> None:
    assert at_most(1.0).holds(1.0)
    assert not Bound("<", 1.0).holds(1.0)
    assert not Bound(">=", 0.0).holds(float("nan"))


def test_the_synthetic_cohort_is_as_awkward_as_radiomics() -> None:
    cohort = generate(FULL, 1)
    train = cohort.split == "train"
    values = cohort.readings["r1"][train]
    assert values.shape == (300, 1834)
    assert sorted(np.bincount(cohort.site[train])) == [36, 60, 90, 114]
    spread = values.std(axis=0)
    varying = spread[np.ptp(values, axis=0) > 0]
    assert 5 < values.shape[1] - varying.size < 60
    assert varying.min() < 1e-5 and varying.max() > 1e8
    skewed = np.abs(stats.skew(values[:, np.ptp(values, axis=0) > 0])) > 2
    assert 0.1 < skewed.mean() < 0.6
    twice = np.isfinite(cohort.readings["r2"][train]).all(axis=1)
    assert np.bincount(cohort.site[train][twice], minlength=4).tolist() == [0, 25, 0, 15]


def test_the_literal_filter_removes_the_most_redundant_first() -> None:
    correlation = np.eye(4)
    for a, b in ((0, 1), (0, 2), (1, 3)):
        correlation[a, b] = correlation[b, a] = -0.95
    assert references.forward_filter(correlation, ["d", "c", "b", "a"], 0.9) == ["b", "a"]


def test_the_reference_icc_counts_a_readers_offset_as_disagreement_only() -> None:
    # by hand: BMS = 13/6, EMS = 1/6, JMS = 1/6, and with one more for reader two JMS = 8/3
    first, second = np.array([[1.0], [2.0], [3.0]]), np.array([[1.0], [3.0], [3.0]])
    agreement, consistency = references.intraclass(first, second)
    assert (agreement[0], consistency[0]) == pytest.approx((6 / 7, 6 / 7))
    agreement, consistency = references.intraclass(first, second + 1.0)
    assert (agreement[0], consistency[0]) == pytest.approx((1 / 2, 6 / 7))


def test_the_reference_sigmoid_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    label = (rng.random(200) < 0.4).astype(np.float64)
    x = (label + rng.normal(size=200))[:, None]
    machine = LinearSVC(dual=False).fit(x, label)
    a, b = references.platt(machine.decision_function(x), label)
    calibrated = CalibratedClassifierCV(FrozenEstimator(machine)).fit(x, label)
    own = 1.0 / (1.0 + np.exp(a * machine.decision_function(x) + b))
    np.testing.assert_allclose(own, calibrated.predict_proba(x)[:, 1], atol=1e-4)


def test_the_reference_delong_has_the_area_of_the_rank_test() -> None:
    rng = np.random.default_rng(1)
    label = (rng.random(60) < 0.5).astype(np.float64)
    scores = np.round(label[:, None] + rng.normal(size=(60, 2)), 1)
    exact = references.delong(scores, label)
    for column in range(2):
        u = stats.mannwhitneyu(scores[label > 0.5, column], scores[label < 0.5, column]).statistic
        positives = label.sum()
        assert exact.auc[column] == pytest.approx(u / (positives * (60 - positives)))
    assert (np.linalg.eigvalsh(exact.covariance) > 0).all()
