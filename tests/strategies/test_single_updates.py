"""Median and Krum: what they compute unmasked, and that masks are refused with a reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.errors import InputError
from common.study.model import Study
from strategies.base import AggregatedUpdate
from tests import builders


def study_with(strategy: str, masking: str) -> Study:
    blocks = {"dl3d": {"strategy": strategy}, "privacy": {"masking": masking}}
    return builders.study(base_models=["dl3d"], **blocks)


def of(*changes: Any) -> AggregatedUpdate:
    parts = tuple(np.full(6, c / len(changes), dtype=np.float32) for c in changes)
    return AggregatedUpdate(np.sum(parts, axis=0), np.zeros(0, dtype=np.float32), 1.0, parts)


def test_the_median_of_the_sites_counts(model_of: Any, start: Any) -> None:
    model = model_of(strategy="fedmedian")
    assert model.single_updates
    model.update(0, of(0.1, 0.2, 9.0))
    np.testing.assert_allclose(model.weights, start + 0.2, atol=1e-6)


def test_krum_takes_the_site_that_is_closest_to_others(model_of: Any, start: Any) -> None:
    model = model_of(strategy="krum", strategy_options={"malicious_sites": 1})
    model.update(0, of(0.1, 0.11, 0.12, 0.13, -5.0))
    assert np.abs(model.weights - start - 0.115).max() < 0.02


@pytest.mark.parametrize("strategy", ["fedmedian", "krum"])
@pytest.mark.parametrize("masking", ["required", "where_possible"])
def test_masked_studies_cannot_have_them_and_say_why(strategy: str, masking: str) -> None:
    with pytest.raises(InputError, match="compares the changes of single sites"):
        study_with(strategy, masking)
    study_with(strategy, "off")
    study_with("scaffold", masking)
