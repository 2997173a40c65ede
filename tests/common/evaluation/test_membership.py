from __future__ import annotations

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import beta
from sklearn.metrics import roc_auc_score, roc_curve

from common.evaluation.membership import MembershipAudit, membership_audit
from common.statistics.base import Float

# dyadic, so that p and 1 - p are exact and ties are ties
PROBABILITIES = st.integers(1, 15).map(lambda k: k / 16)


def losses(probabilities: Float, labels: Float) -> Float:
    """Return the cross-entropy of each patient."""
    return -labels * np.log(probabilities) - (1.0 - labels) * np.log(1.0 - probabilities)


def drawn(data: st.DataObject, n: int) -> tuple[Float, Float]:
    values = data.draw(hnp.arrays(np.float64, (n, 2), elements=PROBABILITIES))
    return values, data.draw(hnp.arrays(np.float64, n, elements=st.sampled_from([0.0, 1.0])))


@settings(max_examples=40, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(st.data(), st.integers(2, 40), st.integers(2, 40))
def test_the_attack_is_the_one_scikit_learn_makes_on_the_losses(
    data: st.DataObject, n: int, m: int
) -> None:
    (members, own), (others, strange) = drawn(data, n), drawn(data, m)
    found = membership_audit(members, own, others, strange)
    truth = np.repeat([1, 0], [n, m])
    for model in range(2):
        scores = -np.append(losses(members[:, model], own), losses(others[:, model], strange))
        fpr, tpr, _ = roc_curve(truth, scores, drop_intermediate=False)
        assert found.auc[model, 0] == pytest.approx(roc_auc_score(truth, scores), abs=0.00501)
        best = tpr[fpr <= 0.05].max()
        assert found.tpr[model, 0] == pytest.approx(best, abs=0.00501)
        k = round(best * n)
        low = beta.ppf(0.025, k, n - k + 1) if k else 0.0
        high = beta.ppf(0.975, k + 1, n - k) if k < n else 1.0
        assert found.tpr[model, 1:] == pytest.approx([low, high], abs=0.00501)
    assert (found.members, found.others) == (n, m)


@settings(max_examples=40, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(st.data(), st.integers(2, 40), st.integers(2, 40))
def test_nothing_but_shares_with_two_decimals_is_found(data: st.DataObject, n: int, m: int) -> None:
    found = membership_audit(*drawn(data, n), *drawn(data, m))
    for shares in (found.auc, found.tpr):
        assert (np.round(shares, 2) == shares).all()
        assert ((shares >= 0.0) & (shares <= 1.0)).all()
        assert (shares[:, 1] <= shares[:, 0]).all() and (shares[:, 0] <= shares[:, 2]).all()


def attacked(rng: np.random.Generator, *, learnt_by_heart: bool) -> MembershipAudit:
    labels = (np.arange(200) % 2).astype(np.float64)
    honest = rng.uniform(0.2, 0.8, (200, 1))
    by_heart = np.where(labels[:, None] > 0.5, 0.99, 0.01)
    members = by_heart if learnt_by_heart else rng.uniform(0.2, 0.8, (200, 1))
    return membership_audit(members, labels, honest, labels)


def test_a_model_that_learnt_its_patients_by_heart_is_found_out_and_another_is_not() -> None:
    rng = np.random.default_rng(3)
    overfitted = attacked(rng, learnt_by_heart=True)
    assert overfitted.auc[0, 0] == overfitted.tpr[0, 0] == 1.0
    honest = attacked(rng, learnt_by_heart=False)
    assert honest.auc[0, 1] <= 0.5 <= honest.auc[0, 2]
    assert honest.tpr[0, 0] < 0.2
