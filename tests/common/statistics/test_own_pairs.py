"""Pairs within hospitals, against scikit-learn and DeLong's variance of each hospital."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from common.evaluation.delong import exact
from common.statistics.base import Rows
from common.statistics.own_pairs import OwnPairs


def hospitals(seed: int = 3) -> list[tuple[Any, Any]]:
    """Scores and labels of three hospitals whose shares of positives differ."""
    random = np.random.default_rng(seed)
    made = []
    for n, share in ((60, 0.2), (90, 0.5), (50, 0.8)):
        label = (np.arange(n) < share * n).astype(float)
        made.append((random.normal(size=(n, 2)) + label[:, None] * [0.8, 0.0], label))
    return made


def summed(found: list[tuple[Any, Any]], level: float = 0.0) -> Any:
    statistic, total = OwnPairs(), None
    for place, (scores, label) in enumerate(found):
        rows = Rows(scores + level * place, ("a", "b"), label, np.full(label.size, -1))
        own = statistic.from_rows(rows)
        total = own if total is None else {name: total[name] + own[name] for name in own}
    return statistic.finalise(total)


def test_the_area_is_that_of_each_hospital_weighed_by_its_pairs() -> None:
    found = hospitals()
    auc, variance = summed(found).areas()
    pairs = [label.sum() * (1 - label).sum() for _, label in found]
    each = [[roc_auc_score(label, s[:, i]) for i in (0, 1)] for s, label in found]
    np.testing.assert_allclose(auc, np.average(each, axis=0, weights=pairs), atol=1e-12)
    exactly = [np.diag(exact(s, label).covariance) for s, label in found]
    weights = np.square(np.array(pairs) / np.sum(pairs))
    np.testing.assert_allclose(variance, weights @ np.array(exactly), rtol=1e-9)


def test_knowing_the_hospital_does_not_help() -> None:
    found = hospitals()
    auc, _ = summed(found).areas()
    shifted, _ = summed(found, level=5.0).areas()
    np.testing.assert_allclose(shifted, auc, atol=1e-12)
    scores = np.concatenate([s[:, 1] + 5.0 * i for i, (s, _) in enumerate(found)])
    assert roc_auc_score(np.concatenate([label for _, label in found]), scores) > 0.7
    assert abs(auc[1] - 0.5) < 0.1


def test_one_site_with_rows_of_several_hospitals_keeps_them_apart() -> None:
    found = hospitals()
    scores, label = (np.concatenate([one[i] for one in found]) for i in (0, 1))
    origin = np.repeat([0, 1, 2], [len(own) for _, own in found])
    rows = Rows(scores, ("a", "b"), label, np.full(label.size, -1), origin=origin)
    np.testing.assert_allclose(
        OwnPairs().finalise(OwnPairs().from_rows(rows)).areas(), summed(found).areas(), rtol=1e-12
    )


def test_a_hospital_with_one_class_adds_nothing() -> None:
    found = hospitals()
    alone = (found[0][0], np.ones(60))
    assert summed([*found, alone]).pairs == summed(found).pairs
    assert np.isnan(summed([alone]).areas()[0]).all()
    assert summed(found).areas()[0][0] == pytest.approx(summed([*found, alone]).areas()[0][0])
