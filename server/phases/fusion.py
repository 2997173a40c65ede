"""Feature-level and decision-level fusion (paper, "Construction of the fusion model")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from common.plain import plain
from common.statistics.base import Float
from common.transforms import Stack
from common.views import Joined, View
from server.federation import Federation, OutOfFoldRows
from server.phases.arm import Arm
from server.phases.linear import fit_linear_arm
from server.phases.standardise import spearman_filter, standardise


def fit_feature_fusion(federation: Federation, arms: Mapping[str, Arm]) -> Arm:
    """DLRad_FB: all arms' features side by side, selected and classified like one table.

    Outer fold k takes the deep features of the networks that never saw fold k.
    """
    base = [arms[name] for name in federation.study.base_models]
    joined: dict[tuple[int, ...], View] = {}
    views = []
    for outer in range(federation.study.folds + 1):
        parts = [arm.features[outer] for arm in base]
        key = tuple(id(part) for part in parts)
        views.append(joined.setdefault(key, View(source=Joined(parts=tuple(parts)))))
    distinct = list({id(view): view for view in views}.values())
    scaled, dropped = standardise(federation, distinct)
    kept = spearman_filter(federation, scaled)
    final = {
        id(view): z.restrict(names) for view, z, names in zip(distinct, scaled, kept, strict=True)
    }
    selection: dict[str, Any] = {
        "steps": (
            {"step": "columns", "count": len(distinct[-1].outputs())},
            {"step": "constant", "names": dropped[-1]},
            {"step": "spearman", "names": kept[-1]},
        ),
        "notes": ("label-free steps of the last outer problem, the final model, are shown",),
    }
    fitted = [final[id(view)] for view in views]
    return fit_linear_arm(federation, "fusion_feature", fitted, (), selection)


@plain
class StackerFit:
    """The decision-level fusion and what is known about it.

    Parameters
    ----------
    final : view that ends in its probability.
    out_of_fold : float64 (n,), cross-validated probabilities on the pooled rows.
    candidates : per candidate its cross-validated AUC.
    used : name of the candidate in the bundle.
    """

    final: View
    out_of_fold: Float
    candidates: dict[str, float]
    used: str


def _candidates(seed: int) -> dict[str, tuple[Any, dict[str, list[Any]]]]:
    """Estimator and hyper-parameter grid of every candidate."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    forest = RandomForestClassifier(n_estimators=100, random_state=seed, n_jobs=1)
    boosting = GradientBoostingClassifier(
        n_estimators=50, learning_rate=0.05, subsample=0.7, random_state=seed
    )
    machine = CalibratedClassifierCV(LinearSVC(dual=False), cv=3, ensemble=False)
    return {
        "forest": (forest, {"min_samples_leaf": [5, 10, 20], "max_features": [1, 2]}),
        "svm": (
            make_pipeline(StandardScaler(), machine),
            {"calibratedclassifiercv__estimator__C": [0.01, 0.1, 1.0]},
        ),
        "boosting": (boosting, {"max_depth": [1, 2]}),
    }


def fit_decision_fusion(
    federation: Federation, arms: Mapping[str, Arm], rows: OutOfFoldRows
) -> StackerFit:
    """DLRad_DB: a stacker on the pooled out-of-fold probabilities of the base models.

    Hyper-parameters and the comparison of candidates come from five-fold cross-validation on the
    pooled rows; the one the study names (default: the paper's forest) is refitted on all of them.
    """
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict
    from skops.io import dumps

    study = federation.study
    names = tuple(study.base_models)
    x = rows.probabilities[:, [rows.columns.index(name) for name in names]]
    y = rows.labels.astype(np.int64)
    splitter = StratifiedKFold(n_splits=5, shuffle=True, random_state=study.seed % 2**32)
    fitted: dict[str, Any] = {}
    predicted: dict[str, Float] = {}
    scores: dict[str, float] = {}
    for name, (estimator, grid) in _candidates(study.seed % 2**32).items():
        if name not in study.fusion.candidates and name != study.fusion.stacker:
            continue
        search = GridSearchCV(estimator, grid, scoring="roc_auc", cv=splitter, refit=True)
        fitted[name] = search.fit(x, y).best_estimator_
        predicted[name] = cross_val_predict(
            fitted[name], x, y, cv=splitter, method="predict_proba"
        )[:, 1]
        scores[name] = float(roc_auc_score(y, predicted[name]))
        federation.events.tell("stacker", candidate=name, auc=scores[name])
    used: str = study.fusion.stacker
    if used == "best":
        used = max(fitted, key=lambda name: scores[name])
    blob = np.frombuffer(dumps(fitted[used]), dtype=np.uint8)
    joined = View(source=Joined(parts=tuple(arms[name].final for name in names)))
    return StackerFit(
        final=joined.then(Stack(columns=names, blob=blob, name="fusion_decision")),
        out_of_fold=predicted[used],
        candidates=scores,
        used=used,
    )
