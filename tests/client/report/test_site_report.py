"""`fedlnm-site report` after a whole small study."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import stat
import warnings
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from client.cli import app
from client.report.feature_maps import correlation_of, correlations_of
from client.report.roc import curves_of
from client.report.site_report import png, rows_of
from client.report.site_run import read_site_run
from common.errors import InputError
from common.evaluation.joined_scores import joined_areas

NOTICE = "This page shows single patients. It must not leave the hospital."
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def north(imaging_run: Path) -> Path:
    return imaging_run / "sites" / "north"


@pytest.fixture(scope="module")
def page(north: Path) -> str:
    done = CliRunner().invoke(app, ["report", str(north)])
    assert done.exit_code == 0, done.output
    return (north / "report" / "index.html").read_text(encoding="utf-8")


def test_only_the_owner_may_read_it(page: str, north: Path) -> None:
    assert page
    assert stat.S_IMODE((north / "report" / "index.html").stat().st_mode) == 0o600
    assert stat.S_IMODE((north / "report").stat().st_mode) == 0o700


def test_it_says_first_that_it_must_stay(page: str) -> None:
    body = page[page.index("<main>") :]
    assert re.sub(r"<[^>]*>", "", body).strip().startswith(NOTICE)


def test_it_loads_nothing_from_anywhere(page: str) -> None:
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in sources)
    assert "<script" not in page
    assert "default-src 'none'" in page


def test_every_patient_stands_there_with_a_crop(page: str, north: Path) -> None:
    run = read_site_run(north, None)
    names = [p.patient_id for subset in run.subsets for p in run.patients(subset)]
    assert len(names) == 24
    for name in names:
        assert f'alt="Crop of {name}"' in page


def test_every_block_has_a_map_and_a_heatmap(page: str) -> None:
    for block in ("clinical", "radiomics", "dl2d", "dl3d"):
        assert f'id="caption-tsne-{block}"' in page
        assert f'id="caption-heatmap-{block}"' in page


def test_probabilities_are_those_that_the_site_kept(north: Path) -> None:
    run = read_site_run(north, "federated")
    scores = run.table("scores", "internal")
    assert scores is not None
    for row in rows_of(run, "internal"):
        place = scores.patients.index(row.patient)
        assert list(row.probabilities.values()) == scores.values[place].tolist()
    for row in rows_of(run, "train"):
        fold = next(p.fold for p in run.patients("train") if p.patient_id == row.patient)
        table = run.table(f"dl2d/fold{fold}/probability", "train")
        assert table is not None
        assert row.probabilities["dl2d"] == table.values[table.patients.index(row.patient), 0]
        assert row.probabilities["fusion_decision"] is None


def test_areas_are_exact_here_and_from_joined_ranks_in_the_study(imaging_run: Path) -> None:
    run = read_site_run(imaging_run / "sites" / "harbour", None)
    curves, without = curves_of(run)
    assert without == []
    scores = run.table("scores", "external_1")
    assert scores is not None
    label = {p.patient_id: float(p.label) for p in run.patients("external_1")}
    labels = np.array([label[patient] for patient in scores.patients])
    minimum = run.study.privacy.min_cell
    told = dict(zip(scores.columns, joined_areas(scores.values, labels, minimum).auc, strict=True))
    results = json.loads((imaging_run / "results.json").read_text(encoding="utf-8"))
    reported = {row["model"]: row for row in results["performance"] if row["set"] == "external_1"}
    assert {curve.model for curve in curves} == set(reported)
    for curve in curves:
        own = scores.values[:, scores.columns.index(curve.model)]
        assert curve.auc == pytest.approx(roc_auc_score(labels, own))
        assert curve.low < curve.auc < curve.high
        assert reported[curve.model]["auc"] == pytest.approx(told[curve.model])


def test_a_crop_is_the_picture_that_the_network_saw() -> None:
    patch = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    data = base64.b64decode(png(patch).partition(",")[2])
    assert np.abs(imread(io.BytesIO(data))[..., 0] - patch).max() < 0.01


def test_a_run_that_is_not_known_is_told(north: Path) -> None:
    with pytest.raises(InputError, match="has not taken part in a run other"):
        read_site_run(north, "other")


def test_a_site_that_has_answered_nothing_is_told(north: Path, tmp_path: Path) -> None:
    shutil.copy(north / "site.toml", tmp_path)
    settings = (tmp_path / "site.toml").read_text(encoding="utf-8")
    changed = re.sub(r'work = ".*"', 'work = "empty"', settings)
    (tmp_path / "site.toml").write_text(changed, encoding="utf-8")
    with pytest.raises(InputError, match="no run so far"):
        read_site_run(tmp_path, None)


def test_nothing_of_it_reaches_the_coordinators_side(page: str, imaging_run: Path) -> None:
    assert "north-0" in page
    for path in (imaging_run / "report" / "index.html", imaging_run / "results.json"):
        assert "north-0" not in path.read_text(encoding="utf-8")


def test_the_selected_features_of_the_test_patients_are_correlated_as_scipy_does(
    imaging_run: Path, page: str
) -> None:
    run = read_site_run(imaging_run / "sites" / "harbour", None)
    (found,) = correlations_of(run)
    results = json.loads((imaging_run / "results.json").read_text(encoding="utf-8"))
    selected = results["selection"]["federated"]
    # networks give their probability themselves in this study
    expected = [
        name for model in ("clinical", "radiomics") for name in selected[model]["svm"]["weights"]
    ]
    assert list(found.features) == expected
    assert (found.subset, found.n) == ("external_1", 12)
    tables = [run.table(f"selected/{model}", "external_1") for model in ("clinical", "radiomics")]
    values = np.hstack([one.values for one in tables if one is not None])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a feature that is the same for twelve patients
        exact = spearmanr(values)
    np.testing.assert_allclose(found.values, exact.statistic, atol=1e-12)
    away = ~np.eye(len(expected), dtype=bool)
    np.testing.assert_allclose(found.p[away], exact.pvalue[away], atol=1e-9)
    drawn = correlation_of(found, "Test set external 1")
    assert drawn.section == "correlations"
    # of four patients of a test set there is no map
    assert correlations_of(read_site_run(imaging_run / "sites" / "north", None)) == []
    assert 'id="correlations"' not in page
