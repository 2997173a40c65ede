from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.messages.limits import MOST_PATIENTS, Limits, patients, shares


@pytest.mark.parametrize(
    ("limits", "value", "expected"),
    [
        (patients(), 0, None),
        (patients(), MOST_PATIENTS, None),
        (patients(), MOST_PATIENTS + 1, "value"),
        (patients(), -1, "value"),
        (patients(3), np.array([1.0, 2.0, 3.0]), None),
        (patients(3), np.array([1.0, 2.5, 3.0]), "value"),
        (patients(3), np.array([1.0, 2.0]), "shape"),
        (patients(3), np.ones((3, 1)), "shape"),
        (shares(1), np.array([np.nan]), "value"),
        (shares(1, unknown=True), np.array([np.nan]), None),
        (shares(1, unknown=True), np.array([1.5]), "value"),
        (shares(1, decimals=2), np.array([0.25]), None),
        (shares(1, decimals=2), np.array([0.251]), "value"),
        (Limits((1,)), np.array([np.inf]), None),
    ],
)
def test_other_lengths_and_numbers_break_a_limit(
    limits: Limits, value: Any, expected: str | None
) -> None:
    assert limits.broken(value, {}) == expected


def test_a_length_that_the_request_gives_holds_and_another_is_the_first_that_is_met() -> None:
    lengths = {"models": 2}
    assert patients("models", "cells").broken(np.ones((2, 5)), lengths) is None
    assert patients("cells").broken(np.ones(5), lengths) is None
    assert patients("cells").broken(np.ones(4), lengths) == "shape"
    assert patients("models").broken(np.ones(3), lengths) == "shape"
