from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.linear_model import LassoCV
from sklearn.model_selection import PredefinedSplit

from common.study.model import Study
from server.phases.clinical import fit_clinical
from server.phases.fusion import fit_feature_fusion
from server.phases.linear import penalties
from server.phases.networks import TrainedNetwork, network_model, variants
from tests import builders


def cohort(n: int = 150, p: int = 8) -> tuple[Any, Any]:
    random = np.random.default_rng(21)
    values = random.normal(size=(n, p))
    label = (values[:, 0] - 0.5 * values[:, 1] + 1.2 * random.normal(size=n) > 0.2).astype(float)
    return values, label


def test_each_fold_keeps_what_scikit_learns_lasso_keeps_without_it() -> None:
    values, label = cohort()
    study = builders.open_study(8)
    found = fit_clinical(builders.federation(builders.split(values, label), study)).selection
    z = (values - values.mean(axis=0)) / values.std(axis=0, ddof=1)
    z, fold = np.clip(z, -study.selection.clip, study.selection.clip), np.arange(label.size) % 5
    kept = []
    for k in range(study.folds):
        seen = fold != k
        lasso = LassoCV(
            alphas=penalties(study), cv=PredefinedSplit(fold[seen]), tol=1e-10, max_iter=100_000
        ).fit(z[seen], label[seen])
        kept.append(tuple(f"x{i}" for i in np.flatnonzero(np.abs(lasso.coef_) > 1e-9)))
    assert found["folds"] == {"candidates": 8, "kept": tuple(kept), "others": (0,) * 5}
    assert len(set(kept)) > 1


def network_tables(values: Any, label: Any, variants: int) -> dict[str, dict[str, Any]]:
    """Features and probabilities of a 2D network for every variant: each sees them its own way."""
    random = np.random.default_rng(5)
    found: dict[str, dict[str, Any]] = {name: {} for name in "abc"}
    for k in range(variants):
        variant = "final" if k == variants - 1 else f"fold{k}"
        mixed = values @ random.normal(size=(values.shape[1], 6))
        odds = 1.0 / (1.0 + np.exp(-values[:, [0]]))
        for name, columns, prefix in (("features", mixed, "dl2d_"), ("probability", odds, "dl2d")):
            own = ("dl2d",) if name == "probability" else ()
            dealt = builders.split(
                columns, label, table=f"dl2d/{variant}/{name}", columns=own, prefix=prefix
            )
            for site, tables in dealt.items():
                found[site] |= tables
    return found


def trained(study: Study) -> dict[str, TrainedNetwork]:
    one = TrainedNetwork(np.zeros(0, dtype=np.float32), 6, (), (), 1, None, "random weights")
    return dict.fromkeys(variants(study), one)


def test_a_fusion_compares_the_columns_that_are_the_same_in_every_fold() -> None:
    values, label = cohort()
    study = builders.open_study(
        3,
        base_models=["clinical", "dl2d"],
        fusion_models=["fusion_feature"],
    )
    clinical = builders.split(values[:, :3], label)
    images = network_tables(values, label, study.folds + 1)
    federation = builders.federation({s: {**clinical[s], **images[s]} for s in clinical}, study)
    network = network_model(federation, "dl2d", trained(study))
    found = fit_feature_fusion(federation, {"clinical": fit_clinical(federation), "dl2d": network})
    folds = found.selection["folds"]
    assert folds["candidates"] == 3
    assert {name for kept in folds["kept"] for name in kept} <= {"x0", "x1", "x2"}
    assert sum(folds["others"]) > 0
