"""Warnings at the top of the report, from the findings of the phases."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from server.report.assemble import left_out_warnings
from tests import builders


def test_a_declared_column_that_no_model_uses_is_a_warning_with_its_counts() -> None:
    study = builders.study(privacy={"masking": "off"})
    left_out = [
        {"column": "sex", "differ": 4},
        {"column": "cartilage", "differ": None},
        {"column": "grade", "differ": 0},
    ]
    clinical: Any = SimpleNamespace(selection={"left_out": left_out})
    sex, cartilage, grade = left_out_warnings(study, {"clinical": clinical})
    assert sex == (
        "No model uses the declared clinical column sex: 4 training patients differ from its usual"
        " value, and a sum over a fold may hold none of them or at least 5"
        " (`privacy.min_category`)."
    )
    assert "fewer than 3 training patients differ" in cartilage
    assert "no two training patients are known to differ in it" in grade
    assert not list(left_out_warnings(study, {}))
