from __future__ import annotations

import numpy as np
import pytest

from common.evaluation.decoders import (
    Cells,
    Columns,
    Components,
    Evidence,
    Total,
    correlations,
    read_from_columns,
)
from common.statistics.base import Float, Rows, add
from common.statistics.fold_histogram import FoldHistogram
from common.statistics.gram import CrossProducts, FoldGram
from common.statistics.histogram import Histogram
from common.statistics.moments import Means

P = 40


def rows(values: Float, folds: int = 1) -> Rows:
    names = tuple(f"x{i}" for i in range(values.shape[1]))
    label = np.arange(len(values)) % 2.0
    return Rows(values, names, label, np.arange(len(values)) % folds)


def drawn(n: int, seed: int = 0, p: int = P) -> Float:
    return np.random.default_rng(seed).standard_normal((n, p))


def total(statistic: object, *parts: Rows) -> Total:
    sums = [statistic.from_rows(part) for part in parts]  # type: ignore[attr-defined]
    whole = sums[0]
    for more in sums[1:]:
        whole = add(whole, more)
    return Total.of(statistic, whole)


def test_a_planted_row_gives_the_same_total_as_one_that_was_there() -> None:
    ours, planted = rows(drawn(20)), rows(drawn(1, seed=1))
    for statistic in (FoldGram(folds=1), CrossProducts(mean=np.zeros(P))):
        with_, of_all = total(statistic, ours).plus(planted), total(statistic, ours, planted)
        for part, values in of_all.sums.items():
            assert np.array_equal(with_.sums[part], values)


def test_the_fold_of_fewest_patients_is_looked_at_and_an_empty_one_is_not() -> None:
    uneven = rows(drawn(9), folds=2)
    assert total(FoldGram(folds=3), uneven).fold == 1
    edges = np.tile([-9.0, 0.0, 9.0], (P, 1))
    found = total(FoldHistogram(folds=3, edges=edges), uneven)
    assert found.fold == 1
    assert found.within(uneven).tolist() == (uneven.fold == 1).tolist()
    assert total(CrossProducts(mean=np.zeros(P)), uneven).fold == -1


def test_a_patient_who_alone_differs_in_a_column_is_read_from_it_and_nobody_else() -> None:
    values = drawn(60)
    values[7, 3] = 1e4
    gram = values.T @ values
    assert np.flatnonzero(read_from_columns(gram, values)).tolist() == [7]
    assert not read_from_columns(gram, drawn(30, seed=5)).any()
    # as with each column left out in turn
    slow = np.zeros(60, dtype=bool)
    for column in range(P):
        others = np.delete(np.arange(P), column)
        slow |= correlations(gram[column, others][None].repeat(60, 0), values[:, others]) > 0.95
    assert np.array_equal(slow, read_from_columns(gram, values))


def test_a_limit_on_values_hides_that_patient() -> None:
    values = drawn(60)
    values[7, 3] = 1e4
    limited = rows(np.clip(values, -3.0, 3.0))
    (found,) = Columns().evidence(total(FoldGram(folds=1), limited), [limited])
    assert not found.recognised.any()


def test_patients_of_other_folds_are_not_believed_to_be_found() -> None:
    values = np.sign(drawn(60, p=200)) * np.exp(1.5 * drawn(60, p=200))
    patients = rows(values, folds=2)
    searched = total(FoldGram(folds=2), patients)
    (found,) = Components().evidence(searched, [patients])
    assert found.recognised[patients.fold == searched.fold].sum() >= 10
    assert not found.recognised[patients.fold != searched.fold].any()


def test_a_value_alone_in_its_interval_is_found_unless_another_interval_rules_it_out() -> None:
    edges = np.array([[0.0, 1.0, 2.0, 3.0]] * 2)
    there = rows(np.array([[0.5, 0.5], [1.5, 0.5], [1.5, 1.5]]))
    absent = rows(np.array([[0.5, 0.5], [0.5, 2.5]]))
    of_those, of_others = Cells().evidence(total(Histogram(edges=edges), there), [there, absent])
    assert of_those.recognised.tolist() == [True, False, True]
    assert of_others.found.tolist() == [True, True]
    assert of_others.recognised.tolist() == [True, False]
    ruled_out = Evidence(np.zeros(2, dtype=bool), np.array([True, False]))
    assert (of_others | ruled_out).recognised.tolist() == [False, False]


def test_each_decoder_leaves_totals_alone_that_it_cannot_search() -> None:
    many, few = rows(drawn(60)), rows(drawn(5, p=3))
    assert np.isinf(Components().weight(total(FoldGram(folds=1), many)))  # more rows than columns
    assert Components().weight(total(FoldGram(folds=1), rows(drawn(20)))) == pytest.approx(0.5)
    assert Columns().weight(total(FoldGram(folds=1), many)) == 0.0
    counts = total(Means(), many)
    for decoder in (Components(), Columns(), Cells()):
        assert np.isinf(decoder.weight(counts))
        assert np.isinf(decoder.weight(total(FoldGram(folds=1), few)))
