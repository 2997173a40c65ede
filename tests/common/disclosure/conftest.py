"""A study over three sites, rows of one of them, and a question about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from common.disclosure.sums import check_sum
from common.statistics.base import Rows
from common.study.model import PrivacySettings, Study
from common.transforms import Clip, Select
from common.transforms.views import View, table
from tests import builders

CLIPPED = table("clinical").then(Clip(limit=3.0))
OWN_TABLE = table("coded").then(Select(columns=("c0",)))


def make_study(**blocks: Any) -> Study:
    sets = {
        "spread": ("internal_test", "abc"),
        "two": ("external_test", "ab"),
        "one": ("external_test", "c"),
    }
    return builders.study(tests=sets, **blocks)


def make_rows(values: Any, positives: int | None = None, fold: Any = None, **more: Any) -> Rows:
    """Rows in five folds; every other row positive unless their number is given."""
    values = np.asarray(values, dtype=float)
    n = len(values)
    label = (np.arange(n) // 5) % 2 if positives is None else np.arange(n) < positives
    return Rows(
        values=values,
        columns=tuple(f"c{i}" for i in range(values.shape[1])),
        label=label.astype(float),
        fold=np.arange(n) % 5 if fold is None else np.asarray(fold),
        **more,
    )


def ask(
    statistic: Any,
    rows: Rows,
    subset: str = "train",
    *,
    study: Study | None = None,
    privacy: PrivacySettings | None = None,
    view: View | None = None,
) -> list[tuple[str, float]]:
    """Rules that refuse, with their thresholds."""
    study = study or make_study()
    view = view or (OWN_TABLE if subset == "one" else CLIPPED)
    found = check_sum(statistic, rows, subset, study, privacy or study.privacy, view)
    return [(refusal.rule, refusal.threshold) for refusal in found]


@pytest.fixture
def study() -> Callable[..., Study]:
    return make_study


@pytest.fixture
def rows() -> Callable[..., Rows]:
    return make_rows


@pytest.fixture
def asked() -> Callable[..., list[tuple[str, float]]]:
    return ask
