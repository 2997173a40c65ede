from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.learning.agreement import ANOTHER, Axes, apart, axes_apart, axes_of, with_signs
from common.learning.lasso import LassoChoice, choice_apart, choose, lasso_path_from_gram
from common.statistics.gram import FoldGram

ANYTHING: tuple[Any, ...] = (None, 1.0, "axes", (), [1.0], {}, np.zeros(3), np.zeros((6, 6)))


def same_axes(matrix: Any, own: Axes, theirs: Any) -> bool:
    return axes_apart(matrix, own, theirs) <= 1.0


def same_choice(*choices: Any) -> bool:
    return choice_apart(*choices) <= 1.0


@pytest.fixture
def matrix() -> Any:
    values = np.random.default_rng(0).normal(size=(40, 6)) * [9.0, 3.0, 3.0, 1.0, 0.5, 0.1]
    return values.T @ values


def test_axes_of_another_processor_are_accepted(matrix: Any) -> None:
    own = axes_of(matrix)
    values, vectors = np.linalg.eigh(matrix)
    assert same_axes(matrix, own, Axes(values, -vectors))


def test_the_rounding_of_solvers_takes_little_of_what_is_allowed(matrix: Any, lasso: Any) -> None:
    own = axes_of(matrix)
    assert axes_apart(matrix, own, Axes(*np.linalg.eigh(matrix))) < 0.01
    gram, kept, fit = lasso
    rounded = LassoChoice(fit.alpha, fit.coefficients * (1.0 + 1e-14))
    assert 0.0 < choice_apart(gram, kept, fit, rounded) < 1e-4
    assert choice_apart(gram, kept, fit, fit.choice) == 0.0


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_values_so_large_that_products_overflow_are_not_accepted(matrix: Any) -> None:
    own = axes_of(matrix)
    assert axes_apart(matrix, own, Axes(own.values, own.vectors * 1e308)) == ANOTHER
    assert apart(np.array([-1e308]), np.array([1e308])) == ANOTHER
    assert apart(np.zeros(2), np.array([0.0, 5e-324])) == ANOTHER
    assert apart(np.zeros(2), np.zeros(2)) == 0.0


def test_axes_within_an_eigenspace_are_free() -> None:
    matrix, turn = np.diag([1.0, 2.0, 2.0]), np.sqrt(0.5)
    own = axes_of(matrix)
    turned = np.array([[1.0, 0.0, 0.0], [0.0, turn, turn], [0.0, -turn, turn]])
    assert same_axes(matrix, own, Axes(own.values, turned))


@pytest.mark.parametrize("change", [1e-6, 1e-9])
def test_an_axis_that_was_changed_is_not_accepted(matrix: Any, change: float) -> None:
    own = axes_of(matrix)
    turned = own.vectors.copy()
    turned[:, 5] += change * turned[:, 4]
    assert not same_axes(matrix, own, Axes(own.values, turned))
    longer = own.vectors * (1.0 + change)
    assert not same_axes(matrix, own, Axes(own.values, longer))
    values = own.values * (1.0 + change)
    assert not same_axes(matrix, own, Axes(values, own.vectors))


def test_other_axes_than_the_leading_ones_are_not_accepted(matrix: Any) -> None:
    own, whole = axes_of(matrix, largest=2), axes_of(matrix)
    assert own.vectors.shape == (6, 2)
    assert same_axes(matrix, own, Axes(whole.values[-2:], whole.vectors[:, -2:]))
    assert not same_axes(matrix, own, Axes(whole.values[:2], whole.vectors[:, :2]))
    assert not same_axes(matrix, own, whole)


@pytest.mark.parametrize("theirs", ANYTHING, ids=repr)
def test_nothing_but_axes_is_accepted(matrix: Any, theirs: Any) -> None:
    own = axes_of(matrix)
    assert not same_axes(matrix, own, theirs)
    assert not same_axes(matrix, own, Axes(theirs, theirs))
    assert not same_axes(matrix, own, Axes(own.values, own.vectors.astype(np.float32)))
    assert not same_axes(matrix, own, Axes(own.values * np.nan, own.vectors))


def test_signs_follow_the_largest_loading() -> None:
    vectors = np.array([[0.6, -0.8], [-0.8, -0.6]])
    np.testing.assert_array_equal(with_signs(vectors), [[-0.6, 0.8], [0.8, 0.6]])


@pytest.fixture
def lasso(rows: Any, summed: Any) -> Any:
    random = np.random.default_rng(1)
    values = random.normal(size=(120, 12))
    label = (values[:, 0] + values[:, 1] + random.normal(size=120) > 0).astype(float)
    gram = summed(FoldGram(folds=5), rows(values, label, np.arange(120) % 5))
    kept = (0, 1, 2, 3)
    fit = choose(gram, np.logspace(-3, 0, 20), kept)
    return gram, kept, fit


def test_a_lasso_of_another_processor_is_accepted(lasso: Any) -> None:
    gram, kept, fit = lasso
    rounded = LassoChoice(fit.alpha, fit.coefficients * (1.0 + 1e-12))
    assert same_choice(gram, kept, fit, rounded)


def test_another_penalty_coefficient_or_column_is_not_accepted(lasso: Any) -> None:
    gram, kept, fit = lasso
    zero, used = np.flatnonzero(fit.coefficients == 0.0)[0], fit.support[0]
    for place, change in ((used, 1e-6), (used, -float(fit.coefficients[used])), (zero, 1e-6)):
        changed = fit.coefficients.copy()
        changed[place] += change
        assert not same_choice(gram, kept, fit, LassoChoice(fit.alpha, changed))
    best = int(np.flatnonzero(fit.alphas == fit.alpha)[0])
    other = LassoChoice(float(fit.alphas[best + 1]), fit.path[:, best + 1])
    assert not same_choice(gram, kept, fit, other)
    assert not same_choice(gram, kept, fit, LassoChoice(fit.alpha * (1 + 1e-15), fit.coefficients))


def test_a_column_cannot_be_slipped_in_with_a_coefficient_that_is_close_enough(lasso: Any) -> None:
    gram, kept, fit = lasso
    changed = fit.coefficients.copy()
    changed[np.flatnonzero(changed == 0.0)[0]] = 9e-10 * np.abs(changed).max()
    assert 0.8 < apart(fit.coefficients, changed) <= 1.0
    assert same_choice(gram, kept, fit, LassoChoice(fit.alpha, changed))
    slipped = type(fit)(**{**vars(fit), "coefficients": changed})
    assert slipped.support.tolist() == fit.support.tolist()


def test_a_penalty_whose_error_ties_is_accepted_with_its_own_coefficients(lasso: Any) -> None:
    gram, kept, fit = lasso
    best = int(np.flatnonzero(fit.alphas == fit.alpha)[0])
    errors = fit.cv_error.copy()
    errors[best + 1] = errors[best] * (1.0 + 1e-13)
    tied = type(fit)(**{**vars(fit), "cv_error": errors})
    alpha = float(fit.alphas[best + 1])
    assert not same_choice(gram, kept, tied, LassoChoice(alpha, fit.coefficients))
    own = lasso_path_from_gram(gram.training((4,)), fit.alphas[: best + 2])[:, best + 1]
    # all that one solution may differ by: penalties cannot be chosen again and again
    assert choice_apart(gram, kept, tied, LassoChoice(alpha, own)) == 1.0


@pytest.mark.parametrize("theirs", ANYTHING, ids=repr)
def test_nothing_but_a_choice_is_accepted(lasso: Any, theirs: Any) -> None:
    gram, kept, fit = lasso
    assert not same_choice(gram, kept, fit, theirs)
    assert not same_choice(gram, kept, fit, LassoChoice(theirs, fit.coefficients))
    assert not same_choice(gram, kept, fit, LassoChoice(fit.alpha, theirs))
