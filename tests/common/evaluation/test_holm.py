"""Holm's correction, against published values and its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.report.comparisons import holm


def test_values_are_those_of_p_adjust_in_r() -> None:
    # p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm")
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    # p.adjust(c(0.0001, 0.4, 0.009), "holm")
    assert holm([0.0001, 0.4, 0.009]) == pytest.approx([0.0003, 0.4, 0.018])


@given(st.lists(st.floats(0, 1), max_size=12))
def test_a_hypothesis_is_rejected_as_the_step_down_procedure_rejects_it(p: list[float]) -> None:
    rejected = set()
    for step, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if p[place] * (len(p) - step) > 0.05:
            break
        rejected.add(place)
    assert {i for i, value in enumerate(holm(p)) if value <= 0.05} == rejected


def test_tests_that_were_not_made_do_not_count() -> None:
    found = holm([0.02, np.nan, 0.03])
    assert np.isnan(found[1])
    assert found[[0, 2]] == pytest.approx([0.04, 0.04])
    assert holm([]).size == 0
