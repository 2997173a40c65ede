"""Decision values of machines with different costs, before they are pooled for one sigmoid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.transforms import Linear
from common.transforms.views import View, materialise
from server.phases.clinical import fit_clinical
from tests import builders

FOLDS = 5


def patients(n: int = 200, p: int = 5, seed: int = 3) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    label = (random.random(n) < 0.35).astype(float)
    values = random.normal(size=(n, p))
    values[:, :3] += 0.5 * label[:, None]
    return values, label


def machines(model: Any) -> list[View]:
    """Views that end in the decision value: without each fold, then of all training rows."""
    assert isinstance(model.final.transforms[-2], Linear)
    final = View(source=model.final.source, transforms=model.final.transforms[:-1])
    return [*model.out_of_fold.source.parts, final]


def decisions(view: View, sites: Any, left_out: int) -> Any:
    """Over the training rows of all sites but those of one fold."""
    parts = [materialise(view, builders.Memory(tables), "train") for tables in sites.values()]
    return np.concatenate([part.values[part.fold != left_out, 0] for part in parts])


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_each_machine_decides_with_mean_0_and_deviation_1_over_the_rows_it_may_see(
    kernel: str,
) -> None:
    sites = builders.split(*patients())
    study = builders.open_study(5, svm={"kernel": kernel, "landmarks": 32})
    model = fit_clinical(builders.federation(sites, study))
    assert len(machines(model)) == FOLDS + 1
    for outer, view in enumerate(machines(model)):
        seen = decisions(view, sites, outer)
        assert seen.mean() == pytest.approx(0.0, abs=1e-5)
        assert seen.std() == pytest.approx(1.0, abs=1e-5)


def test_a_strict_and_a_lenient_machine_agree_on_the_scale_of_probabilities() -> None:
    # the costs differ by a factor of 1000, and so do the spreads of the raw decision values
    sites = builders.split(*patients())
    spreads, slopes = [], []
    for cost in (1e-4, 0.1):
        study = builders.open_study(5, svm={"costs": [cost], "tolerance": 1e-5})
        model = fit_clinical(builders.federation(sites, study))
        spreads.append(model.selection["svm"]["decision_sd"])
        slopes.append(model.final.transforms[-1].a)
    assert spreads[1] > 5 * spreads[0]
    assert slopes[0] == pytest.approx(slopes[1], rel=0.15)


def test_the_report_has_the_machines_own_weights_and_how_they_were_scaled() -> None:
    model = fit_clinical(builders.federation(builders.split(*patients()), builders.open_study(5)))
    reported, used = model.selection["svm"], model.final.transforms[-2]
    assert tuple(reported["weights"]) == used.columns
    own = np.array(list(reported["weights"].values()))
    np.testing.assert_allclose(used.weights * reported["decision_sd"], own, atol=1e-12)
    intercept = used.intercept * reported["decision_sd"] + reported["decision_mean"]
    assert intercept == pytest.approx(reported["intercept"])


def test_a_machine_that_tells_nothing_is_left_as_it_is() -> None:
    # so strict that the weights stay 0: nothing to divide by
    sites = builders.split(*patients())
    model = fit_clinical(builders.federation(sites, builders.open_study(5, svm={"costs": [1e-12]})))
    assert model.selection["svm"]["decision_sd"] == 0.0
    for view in machines(model):
        assert np.abs(decisions(view, sites, -1)).max() < 1e-6
    parts = [
        materialise(model.final, builders.Memory(tables), "train") for tables in sites.values()
    ]
    rate = np.concatenate([part.label for part in parts]).mean()
    assert parts[0].values == pytest.approx(rate, abs=0.01)
