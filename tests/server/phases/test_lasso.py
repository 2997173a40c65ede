from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.linear_model import LassoCV
from sklearn.model_selection import PredefinedSplit

from server.phases.clinical import fit_clinical
from server.phases.lasso import penalties
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
