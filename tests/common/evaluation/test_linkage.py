from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from common.evaluation.linkage import (
    cell_edges,
    count_cells,
    known_columns,
    row_cells,
    unique_patients,
)
from common.statistics.base import Float
from common.statistics.histogram import cell_counts
from common.transforms import Select
from common.transforms.views import ByFold, Joined, View, table

TABLES = hnp.arrays(
    np.float64,
    st.tuples(st.integers(0, 40), st.integers(1, 2)),
    elements=st.sampled_from([0.0, 0.004, 0.005, 0.5, 0.501, 0.994, 0.996, 1.0]),
)


@given(hnp.arrays(np.float64, st.integers(0, 30), elements=st.floats(0, 1)), st.integers(1, 4))
def test_a_cell_is_the_nearest_rounded_probability(values: Float, decimals: int) -> None:
    cells = row_cells(values, cell_edges(decimals))
    assert np.abs(cells / 10**decimals - values).max(initial=0.0) <= 0.5000001 / 10**decimals
    assert np.array_equal(
        count_cells(cells[:, None], decimals)[0], cell_counts(values, cell_edges(decimals))
    )


@given(TABLES)
def test_unique_patients_are_those_that_no_other_row_is_like(values: Float) -> None:
    cells = row_cells(values, cell_edges(2))
    rows = cells.T.tolist()
    by_hand = sum(
        any(column.count(column[i]) == 1 for column in rows) for i in range(values.shape[0])
    )
    assert unique_patients(cells, count_cells(cells, 2)) == by_hand


def test_a_patient_is_not_unique_where_another_hospital_has_such_a_row() -> None:
    own, others = np.array([[10], [20]]), np.array([[20], [30]])
    assert unique_patients(own, count_cells(own, 2)) == 2
    together = count_cells(np.vstack([own, others]), 2)
    assert unique_patients(own, together) == 1


def test_only_models_of_clinical_values_alone_are_known() -> None:
    clinical = table("clinical").then(Select(columns=("age",)))
    features = table("radiomics").then(Select(columns=("f",)))
    both = View(source=Joined(parts=(clinical, features)))
    folds = View(source=ByFold(parts=(clinical, clinical)))
    views = {"clinical": folds, "radiomics": features, "fusion_feature": both}
    assert known_columns(views) == ("clinical",)


@pytest.mark.parametrize("value", [-0.01, 1.01, np.nan, np.inf])
def test_what_is_no_probability_has_no_cell(value: float) -> None:
    with pytest.raises(ValueError, match="probabilities"):
        row_cells(np.array([0.5, value]), cell_edges(2))
