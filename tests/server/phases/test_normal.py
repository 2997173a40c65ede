"""Normal scores in the models, over sites in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from common.disclosure.rule import RULES
from common.errors import StudyError
from common.statistics.base import Rows
from common.statistics.gram import CrossProducts
from common.statistics.rank_gram import RankGram
from common.transforms import NormalScores, Select
from common.transforms.views import materialise, table
from server.phases.batching import run_together
from server.phases.components import principal_components
from server.phases.rank_cells import lay_scores
from server.phases.spearman import spearman_filter
from server.phases.standardise import standardise
from sim.equality import references
from tests import builders


def skewed(n: int, p: int, seed: int = 0) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    values = np.exp(1.2 * random.normal(size=(n, p)))
    return values, (np.arange(n) // 5) % 2.0


def filtered(federation: Any, study: Any, *, drop_tied: bool = False) -> Any:
    raw = table("clinical").then(Select(columns=federation.columns("clinical")))
    (scaled,), _ = standardise(federation, [raw])
    ((one,),) = run_together(federation, spearman_filter(study, [scaled], drop_tied=drop_tied))
    return one


def pooled(view: Any, sites: Any) -> Rows:
    """All sites' rows of a view under each other."""
    parts = [materialise(view, builders.Memory(tables), "train") for tables in sites.values()]
    return Rows(
        values=np.vstack([part.values for part in parts]),
        columns=parts[0].columns,
        label=np.concatenate([part.label for part in parts]),
        fold=np.concatenate([part.fold for part in parts]),
    )


def test_what_is_laid_on_a_view_is_close_to_the_scores_of_the_pooled_ranks() -> None:
    values, label = skewed(200, 6)
    study, sites = builders.open_study(6), builders.split(values, label)
    one = lay_scores(study, filtered(builders.federation(sites, study), study).table)
    rows = pooled(one.view, sites)
    exact = references.normal_scores(values)
    for own, best in zip(rows.values.T, exact.T, strict=True):
        assert np.corrcoef(own, best)[0, 1] > 0.98
    # the evidence moves with the values: as many rows lie apart as before
    apart = one.support.of(rows, study.folds)
    np.testing.assert_array_equal(apart, one.support.apart)


def test_columns_with_ties_go_where_there_are_many_and_stay_where_there_are_few() -> None:
    for p, dropped in ((24, {"x1", "x3"}), (6, set())):
        values, label = skewed(200, p)
        values[:60, [1, 3]] = 7.0
        study = builders.open_study(p)
        one = filtered(
            builders.federation(builders.split(values, label), study), study, drop_tied=True
        )
        assert set(one.tied) == dropped
        assert set(one.names) == {f"x{i}" for i in range(p)} - dropped
        kept = filtered(builders.federation(builders.split(values, label), study), study)
        assert len(kept.names) == p


def test_few_patients_and_many_columns_are_filtered_by_normal_scores() -> None:
    values, label = skewed(60, 130)
    values[:, 5] = values[:, 4] ** 3
    study = builders.open_study(130)
    federation = builders.federation(builders.split(values, label), study)
    one = filtered(federation, study)
    (gram,) = [i.statistic for i, _ in federation.known if isinstance(i.statistic, RankGram)]
    assert gram.normal
    assert "normal scores" in one.note
    assert len({"x4", "x5"} & set(one.names)) == 1
    assert len(one.names) == 129


@pytest.mark.parametrize("mode", ["guarded", "faithful"])
def test_components_are_of_normal_scores_in_guarded_mode_alone(mode: str, monkeypatch: Any) -> None:
    values, label = skewed(120, 30)
    study = builders.open_study(30, privacy={"mode": mode})
    sites = builders.split(values, label)
    federation = builders.federation(sites, study)
    monkeypatch.setitem(RULES, "bounded", replace(RULES["bounded"], check=None))
    raw = table("clinical").then(Select(columns=federation.columns("clinical")))
    (view,) = principal_components(federation, [raw], "pc")
    (products,) = [i for i, _ in federation.known if isinstance(i.statistic, CrossProducts)]
    laid = [isinstance(step, NormalScores) for step in products.view.transforms]
    assert any(laid) == (mode == "guarded")
    components = pooled(view, sites).values
    assert np.abs(components.mean(axis=0)).max() < 1e-8
    covariance = np.cov(components.T)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 1e-6 * covariance.max()


def test_a_network_that_answers_alike_to_many_patients_has_no_components() -> None:
    values, label = skewed(200, 30)
    values[:100] = 0.0
    federation = builders.federation(
        builders.split(values, label, np.arange(200) % 5), builders.open_study(30)
    )
    raw = table("clinical").then(Select(columns=federation.columns("clinical")))
    with pytest.raises(StudyError, match="one value for many patients"):
        principal_components(federation, [raw], "pc")


def test_units_that_are_zero_in_all_patients_are_left_out_where_rare_values_are_let_in(
    monkeypatch: Any,
) -> None:
    """As in the local-only reference: a hospital's own network has dead units."""
    values, label = skewed(120, 12)
    values[:, 3] = values[:, 7] = 0.0
    sites = builders.split(values, label)
    federation = builders.federation(sites, builders.open_study(12))
    monkeypatch.setitem(RULES, "bounded", replace(RULES["bounded"], check=None))
    raw = table("clinical").then(Select(columns=federation.columns("clinical")))
    (view,) = principal_components(federation, [raw], "pc")
    components = pooled(view, sites).values
    assert np.isfinite(components).all()
    assert components.shape[1] <= 10
