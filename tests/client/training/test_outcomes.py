"""The loss of discrete hazards is that of a logistic model on person-periods, by other programs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from statsmodels.discrete.discrete_model import Logit
from torch.nn.functional import binary_cross_entropy_with_logits

from client.training.batches import Crops
from client.training.loop import infer, loss_of, train_locally
from client.training.outcomes import (
    Outcomes,
    crop_losses,
    hazard_losses,
    mean_loss,
    patient_answers,
    score_of,
)
from common.networks.resnet import build_network
from common.study.networks import NetworkSettings

PERIODS = 4
SETTINGS = NetworkSettings(
    block="basic",
    layers=(1, 1, 1, 1),
    widths=(4, 4, 8, 8),
    stem_kernel=3,
    stem_pool=False,
    input_size=16,
    batch_size=8,
    learning_rate=0.01,
    augment=False,
)


def followed(n: int = 400, seed: int = 0) -> tuple[Any, Any, Any]:
    """Return features (n, 2), outcomes and last periods of patients with censoring."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(n, 2))
    hazard = 1 / (1 + np.exp(1.4 - features @ [0.8, -0.5]))
    event = np.array([random.geometric(one) - 1 for one in hazard])
    leaves = random.integers(0, PERIODS, n)
    label = ((event <= leaves) & (event < PERIODS)).astype(np.float32)
    period = np.minimum(np.minimum(event, leaves), PERIODS - 1).astype(np.int64)
    return features, label, period


def person_periods(values: Any, label: Any, period: Any) -> tuple[Any, Any, Any]:
    """Write a row for each patient and period that the patient was seen in, one by one."""
    rows, outcome, when = [], [], []
    for own, happened, last in zip(values, label, period, strict=True):
        for now in range(last + 1):
            rows.append(own)
            outcome.append(float(happened and now == last))
            when.append(now)
    return np.array(rows), np.array(outcome), np.array(when)


def test_the_loss_is_scikit_learns_on_person_periods() -> None:
    _, label, period = followed()
    logits = np.random.default_rng(1).normal(size=(label.size, PERIODS))
    spread, outcome, when = person_periods(logits, label, period)
    risk = 1 / (1 + np.exp(-spread[np.arange(when.size), when]))
    expected = log_loss(outcome, risk, normalize=False)
    outcomes = Outcomes(label, period)
    found = crop_losses(torch.from_numpy(logits), outcomes, SETTINGS).sum()
    assert float(found) == pytest.approx(expected, rel=1e-12)
    weighted = SETTINGS.model_copy(update={"class_weights": (0.5, 3.0)})
    each = crop_losses(torch.from_numpy(logits), outcomes, SETTINGS).numpy()
    doubled = crop_losses(torch.from_numpy(logits), outcomes, weighted).numpy()
    np.testing.assert_allclose(doubled, each * np.where(label > 0, 3.0, 0.5), rtol=1e-12)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 3.0)])
def test_a_batch_of_yes_and_no_has_the_very_loss_and_gradient_of_torch(
    weights: tuple[float, float],
) -> None:
    settings = SETTINGS.model_copy(update={"class_weights": weights})
    label = (np.arange(12) % 3 == 0).astype(np.float32)
    values = torch.linspace(-2.0, 3.0, 12)
    own, library = (values.clone().requires_grad_() for _ in range(2))
    mean_loss(own, Outcomes(label, None), settings).backward()
    each = torch.from_numpy(np.where(label > 0, weights[1], weights[0]).astype(np.float32))
    binary_cross_entropy_with_logits(library, torch.from_numpy(label), each).backward()
    assert own.grad is not None and library.grad is not None
    assert torch.equal(own.grad, library.grad)


def test_a_linear_head_is_statsmodels_logistic_model_of_each_period() -> None:
    features, label, period = followed()
    design = torch.from_numpy(np.column_stack([np.ones(label.size), features]))
    weights = torch.zeros((3, PERIODS), dtype=torch.float64, requires_grad=True)
    target, last = torch.from_numpy(label).double(), torch.from_numpy(period)
    optimiser = torch.optim.LBFGS([weights], tolerance_grad=1e-9, tolerance_change=0.0)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = hazard_losses(design @ weights, target, last).mean()
        loss.backward()
        return loss

    for _ in range(4):
        optimiser.step(closure)
    rows, outcome, when = person_periods(design.numpy(), label, period)
    for now in range(PERIODS):
        own = when == now
        assert 5 < outcome[own].sum() < own.sum()
        expected = Logit(outcome[own], rows[own]).fit(disp=False).params
        np.testing.assert_allclose(weights.detach()[:, now], expected, atol=1e-5)


def test_one_output_for_each_period_has_the_hazards_of_a_life_table() -> None:
    _, label, period = followed()
    _, outcome, when = person_periods(np.ones((label.size, 1)), label, period)
    dummies = np.eye(PERIODS)[when]
    reference = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-9).fit(dummies, outcome)
    logits = torch.from_numpy(np.tile(reference.coef_[0], (label.size, 1))).requires_grad_()
    hazard_losses(logits, torch.from_numpy(label), torch.from_numpy(period)).sum().backward()
    np.testing.assert_allclose(logits.grad.sum(dim=0), np.zeros(PERIODS), atol=1e-4)


def test_a_patients_hazard_is_that_of_the_mean_risk_of_its_crops() -> None:
    logits = np.random.default_rng(2).normal(size=(3, PERIODS))
    hazard = 1 / (1 + np.exp(-logits[:, :2]))
    risk = 1 - (1 - hazard).prod(axis=1)
    expected = np.log(-np.log(1 - np.array([risk[:2].mean(), risk[2]])))
    found = patient_answers(logits, np.array([0, 0, 1]), 2, last=1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    alone = score_of(torch.from_numpy(logits), last=1).numpy()
    np.testing.assert_allclose(alone[2], expected[1], rtol=1e-12)
    certain = patient_answers(np.array([[80.0], [-80.0]]), np.array([0, 1]), 2, last=0)
    assert np.isfinite(certain).all() and certain[0] > certain[1]


def bright_patients(n: int = 24) -> Crops:
    """Brighter patients have the event sooner; every fourth is lost to follow-up."""
    random = np.random.default_rng(3)
    period = np.arange(n, dtype=np.int64) % PERIODS
    images = random.random((n, 16, 16, 16), dtype=np.float32) * 0.3
    images += 0.15 * (PERIODS - period).reshape(-1, 1, 1, 1).astype(np.float32)
    label = (np.arange(n) % 5 > 0).astype(np.float32)
    return Crops(images, np.arange(n), label, period)


def test_a_network_learns_who_has_the_event_sooner() -> None:
    crops = bright_patients()
    model = build_network("dl3d", SETTINGS, seed=1, outputs=PERIODS)
    before, count = loss_of(model, "dl3d", crops, SETTINGS)
    assert count == len(crops.images)
    train_locally(
        model,
        "dl3d",
        crops,
        settings=SETTINGS,
        learning_rate=0.01,
        epochs=20,
        generator=torch.Generator().manual_seed(1),
    )
    after, _ = loss_of(model, "dl3d", crops, SETTINGS)
    assert after < 0.6 * before
    _, hazard = infer(model, "dl3d", crops, SETTINGS, len(crops.images), last=1)
    early = (crops.label > 0) & (crops.period <= 1)
    assert hazard[early].min() > hazard[~early].max()
