"""Decision values of machines with different costs, before they are pooled for one sigmoid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.transforms import Linear
from common.transforms.views import View, materialise
from server.phases.clinical import fit_clinical

FOLDS = 5


def patients(n: int = 200, p: int = 5, seed: int = 3) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    label = (random.random(n) < 0.35).astype(float)
    values = random.normal(size=(n, p))
    values[:, :3] += 0.5 * label[:, None]
    return values, label


def machines(arm: Any) -> list[View]:
    """Views that end in the decision value: without each fold, then of all training rows."""
    assert isinstance(arm.final.transforms[-2], Linear)
    final = View(source=arm.final.source, transforms=arm.final.transforms[:-1])
    return [*arm.out_of_fold.source.parts, final]


def decisions(view: View, sites: Any, memory: Any, left_out: int) -> Any:
    """Over the training rows of all sites but those of one fold."""
    parts = [materialise(view, memory(tables), "train") for tables in sites.values()]
    return np.concatenate([part.values[part.fold != left_out, 0] for part in parts])


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_each_machine_decides_with_mean_0_and_deviation_1_over_the_rows_it_may_see(
    federated: Any, split: Any, memory_study: Any, memory: Any, kernel: str
) -> None:
    sites = split(*patients())
    study = memory_study(5, f'[svm]\nkernel = "{kernel}"\nlandmarks = 32\n')
    arm = fit_clinical(federated(sites, study))
    assert len(machines(arm)) == FOLDS + 1
    for outer, view in enumerate(machines(arm)):
        seen = decisions(view, sites, memory, outer)
        assert seen.mean() == pytest.approx(0.0, abs=1e-5)
        assert seen.std() == pytest.approx(1.0, abs=1e-5)


def test_a_strict_and_a_lenient_machine_agree_on_the_scale_of_probabilities(
    federated: Any, split: Any, memory_study: Any, memory: Any
) -> None:
    # the costs differ by a factor of 1000, and so do the spreads of the raw decision values
    sites = split(*patients())
    spreads, slopes = [], []
    for cost in (1e-4, 0.1):
        study = memory_study(5, f"[svm]\ncosts = [{cost}]\ntolerance = 1e-5\n")
        arm = fit_clinical(federated(sites, study))
        spreads.append(arm.selection["svm"]["decision_sd"])
        slopes.append(arm.final.transforms[-1].a)
    assert spreads[1] > 5 * spreads[0]
    assert slopes[0] == pytest.approx(slopes[1], rel=0.15)


def test_the_report_has_the_machines_own_weights_and_how_they_were_scaled(
    federated: Any, split: Any, memory_study: Any
) -> None:
    arm = fit_clinical(federated(split(*patients()), memory_study(5)))
    told, used = arm.selection["svm"], arm.final.transforms[-2]
    assert tuple(told["weights"]) == used.columns
    own = np.array(list(told["weights"].values()))
    np.testing.assert_allclose(used.weights * told["decision_sd"], own, atol=1e-12)
    intercept = used.intercept * told["decision_sd"] + told["decision_mean"]
    assert intercept == pytest.approx(told["intercept"])


def test_a_machine_that_tells_nothing_is_left_as_it_is(
    federated: Any, split: Any, memory_study: Any, memory: Any
) -> None:
    # so strict that the weights stay 0: nothing to divide by
    sites = split(*patients())
    arm = fit_clinical(federated(sites, memory_study(5, "[svm]\ncosts = [1e-12]\n")))
    assert arm.selection["svm"]["decision_sd"] == 0.0
    for view in machines(arm):
        assert np.abs(decisions(view, sites, memory, -1)).max() < 1e-6
    parts = [materialise(arm.final, memory(tables), "train") for tables in sites.values()]
    rate = np.concatenate([part.label for part in parts]).mean()
    assert parts[0].values == pytest.approx(rate, abs=0.01)
