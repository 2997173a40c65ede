"""Pooled references: numpy, scipy and scikit-learn on all rows at once.

Nothing here calls a statistic or a solver of ours; only the definitions are shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats
from sklearn.decomposition import PCA
from sklearn.linear_model import LassoCV, LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from common.statistics.base import Float, Int

LASSO_TOLERANCE = 1e-12
SVM_TOLERANCE = 1e-12
ITERATIONS = 1_000_000


def standardised(values: Float) -> tuple[Float, StandardScaler]:
    """Return z-scores (n, p) and the scaler."""
    scaler = StandardScaler().fit(values)
    return np.asarray(scaler.transform(values), dtype=np.float64), scaler


def nearly_constant(z: Float, fold: Int, fewest: int) -> NDArray[np.bool_]:
    """Return columns (p,) with a fold of some rows, but fewer than `fewest`, apart, or with none.

    The usual value is the fullest of 16 cells that would be equally full if z were normal.
    """
    edges = stats.norm.ppf(np.arange(1, 16) / 16.0)
    rare = np.zeros(z.shape[1], dtype=np.bool_)
    for column in range(z.shape[1]):
        cell = np.digitize(z[:, column], edges)
        apart = cell != np.bincount(cell).argmax()
        rare[column] = too_few([apart[fold == k].sum() for k in range(int(fold.max()) + 1)], fewest)
    return rare


def too_few(by_fold: Sequence[float], fewest: int) -> bool:
    """Tell whether some folds hold rows, but fewer than `fewest`, or all of them none."""
    return any(0 < n < fewest for n in by_fold) or not any(n >= fewest for n in by_fold)


def auc_within_folds(scores: Float, label: Float, fold: Int) -> float:
    """Return the AUC of pairs of the same fold: those of the folds, weighed by their pairs."""
    folds = [fold == k for k in range(int(fold.max()) + 1)]
    areas = [roc_auc_score(label[own], scores[own]) for own in folds]
    pairs = [label[own].sum() * (1.0 - label[own]).sum() for own in folds]
    return float(np.average(areas, weights=pairs))


def spearman(values: Float) -> Float:
    """Return rank correlations (p, p) of columns that vary."""
    return np.asarray(stats.spearmanr(values).statistic, dtype=np.float64)


def largest_ties(values: Float) -> Float:
    """Return the count of the most frequent value of each column, (p,)."""
    return np.array(
        [np.unique(column, return_counts=True)[1].max() for column in values.T], dtype=np.float64
    )


def normal_scores(values: Float) -> Float:
    """Return normal quantiles (n, p) at (rank - 1/2) / n, of mid-ranks."""
    ranks = stats.rankdata(values, axis=0)
    return np.asarray(stats.norm.ppf((ranks - 0.5) / len(values)), dtype=np.float64)


def forward_filter(correlation: Float, names: Sequence[str], threshold: float) -> list[str]:
    """Run the redundancy filter, written literally; return the names kept, in table order.

    For every remaining column count the later remaining columns whose correlation exceeds the
    threshold; remove the column with the highest count, of equal ones the first by name; count
    again.
    """
    redundant = np.triu(np.abs(correlation) > threshold, 1).astype(np.float32)
    remaining = np.ones(len(names), dtype=np.float32)
    while True:
        count = (redundant @ remaining) * remaining
        if count.max(initial=0.0) == 0.0:
            return [name for name, keep in zip(names, remaining, strict=True) if keep]
        most = [names[int(i)] for i in np.flatnonzero(count == count.max())]
        remaining[names.index(min(most))] = 0.0


def intraclass(first: Float, second: Float) -> tuple[Float, Float]:
    """Return ICC(2,1) and ICC(3,1) per column from the mean squares of Shrout and Fleiss 1979.

    Parameters
    ----------
    first, second : (n, p), two readings; patients without either are left out.
    """
    twice = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
    scores = np.stack([first[twice], second[twice]], axis=1)
    n, k, _ = scores.shape
    grand = scores.mean(axis=(0, 1))
    by_patient, by_reader = scores.mean(axis=1), scores.mean(axis=0)
    bms = k * np.sum((by_patient - grand) ** 2, axis=0) / (n - 1)
    jms = n * np.sum((by_reader - grand) ** 2, axis=0) / (k - 1)
    left = scores - by_patient[:, None, :] - by_reader[None, :, :] + grand
    ems = np.sum(left**2, axis=(0, 1)) / ((n - 1) * (k - 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        agreement = (bms - ems) / (bms + (k - 1) * ems + k * (jms - ems) / n)
        consistency = (bms - ems) / (bms + (k - 1) * ems)
    return agreement, consistency


def principal_axes(values: Float, components: int) -> Float:
    """Return the axes (p, k) of scikit-learn's PCA."""
    n, p = values.shape
    k = min(components, n - 1, p)
    return np.asarray(PCA(n_components=k, svd_solver="full").fit(values).components_.T)


@dataclass(frozen=True)
class LinearFit:
    """Reference of one outer problem.

    LASSO over all columns (p,); the SVM over the columns of the LASSO's support, intercept last,
    its decision values on mean 0 and standard deviation 1 over the rows it was fitted on.
    """

    alpha: float
    lasso: Float
    support: Int
    cost: float
    weights: Float


def splits(fold: Int, kept: Sequence[int]) -> list[tuple[Int, Int]]:
    """Return train and validation indices, one pair per fold kept, for scikit-learn's `cv`."""
    inside = np.isin(fold, kept)
    return [(np.flatnonzero(inside & (fold != one)), np.flatnonzero(fold == one)) for one in kept]


def lasso(x: Float, y: Float, alphas: Float, folds: list[tuple[Int, Int]]) -> tuple[float, Float]:
    """Return chosen penalty and coefficients (p,) of LassoCV over given folds."""
    rows = np.sort(np.concatenate([validation for _, validation in folds]))
    place = np.full(y.size, -1)
    place[rows] = np.arange(rows.size)
    model = LassoCV(
        alphas=np.sort(alphas)[::-1],
        cv=[(place[train], place[validation]) for train, validation in folds],
        tol=LASSO_TOLERANCE,
        max_iter=ITERATIONS,
    ).fit(x[rows], y[rows])
    return float(model.alpha_), np.asarray(model.coef_, dtype=np.float64)


def machine(x: Float, y: Float, cost: float) -> Float:
    """Return weights and intercept (p + 1,) of scikit-learn's squared-hinge linear SVM."""
    model = LinearSVC(
        C=cost, loss="squared_hinge", dual=False, tol=SVM_TOLERANCE, max_iter=ITERATIONS
    ).fit(x, y > 0.5)
    return np.append(model.coef_[0], model.intercept_)


def on_unit_scale(x: Float, weights: Float) -> Float:
    """Rescale weights and intercept to decision values of mean 0 and deviation 1 on these rows."""
    decision = x @ weights[:-1] + weights[-1]
    shifted = np.append(weights[:-1], weights[-1] - decision.mean())
    return np.asarray(shifted / decision.std())


def squared_hinge(x: Float, y: Float, weights: Float) -> Float:
    """Return the loss (n,) of a machine."""
    margin = np.where(y > 0.5, 1.0, -1.0) * (x @ weights[:-1] + weights[-1])
    return np.asarray(np.maximum(1.0 - margin, 0.0) ** 2, dtype=np.float64)


def nested_linear(
    x: Float,
    y: Float,
    fold: Int,
    kept: Sequence[int],
    alphas: Float,
    costs: Sequence[float],
    fallback: int,
) -> LinearFit:
    """Fit LASSO, then the SVM's cost and weights, over the folds kept."""
    folds = splits(fold, kept)
    alpha, coefficients = lasso(x, y, alphas, folds)
    support = np.flatnonzero(coefficients)
    rows = np.isin(fold, kept)
    if support.size == 0:
        products = np.abs((x[rows] - x[rows].mean(axis=0)).T @ (y[rows] - y[rows].mean()))
        support = np.sort(np.argsort(-products, kind="stable")[:fallback])
    narrow = x[:, support]
    errors = []
    for cost in costs:
        losses = [
            squared_hinge(narrow[test], y[test], machine(narrow[train], y[train], cost))
            for train, test in folds
        ]
        errors.append(np.concatenate(losses).mean())
    cost = costs[int(np.argmin(errors))]
    weights = on_unit_scale(narrow[rows], machine(narrow[rows], y[rows], cost))
    return LinearFit(alpha, coefficients, support, cost, weights)


def platt(decision: Float, label: Float) -> tuple[float, float]:
    """Return a and b of 1 / (1 + exp(a f + b)) with Platt's targets, by scipy's trust region."""
    positive = label > 0.5
    high = (positive.sum() + 1.0) / (positive.sum() + 2.0)
    target = np.where(positive, high, 1.0 / ((~positive).sum() + 2.0))

    def loss(ab: Float) -> float:
        z = ab[0] * decision + ab[1]
        return float(np.sum(target * np.logaddexp(0.0, z) + (1.0 - target) * np.logaddexp(0.0, -z)))

    def slope(ab: Float) -> Float:
        p = 1.0 / (1.0 + np.exp(ab[0] * decision + ab[1]))
        return np.array([np.sum((target - p) * decision), np.sum(target - p)])

    def curvature(ab: Float) -> Float:
        p = 1.0 / (1.0 + np.exp(ab[0] * decision + ab[1]))
        w, design = p * (1.0 - p), np.column_stack([decision, np.ones_like(decision)])
        return np.asarray(design.T @ (w[:, None] * design))

    start = np.array([0.0, np.log(((~positive).sum() + 1.0) / (positive.sum() + 1.0))])
    found = optimize.minimize(
        loss, start, method="trust-exact", jac=slope, hess=curvature, options={"gtol": 1e-10}
    )
    return float(found.x[0]), float(found.x[1])


def calibration(scores: Float, label: Float) -> tuple[float, float, float]:
    """Return intercept and slope on the logit, and the intercept of slope 1.

    Parameters
    ----------
    scores : (n,), between 0 and 1. label : (n,).
    """
    x = special.logit(scores)
    model = LogisticRegression(C=np.inf, tol=1e-12, max_iter=ITERATIONS).fit(x[:, None], label)
    large = optimize.brentq(lambda a: float((label - special.expit(a + x)).sum()), -50.0, 50.0)
    return float(model.intercept_[0]), float(model.coef_[0, 0]), float(large)


@dataclass(frozen=True)
class Areas:
    """Areas (k,) and their covariance (k, k)."""

    auc: Float
    covariance: Float


def delong(scores: Float, label: Float) -> Areas:
    """Compute DeLong's areas by comparing every positive with every negative.

    Parameters
    ----------
    scores : (n, k), one column per model. label : (n,).
    """
    positive: NDArray[np.bool_] = label > 0.5
    v10, v01 = [], []
    for column in scores.T:
        high, low = column[positive][:, None], column[~positive][None, :]
        wins = (high > low) + 0.5 * (high == low)
        v10.append(wins.mean(axis=1))
        v01.append(wins.mean(axis=0))
    covariance = np.atleast_2d(np.cov(v10)) / positive.sum()
    covariance = covariance + np.atleast_2d(np.cov(v01)) / (~positive).sum()
    return Areas(auc=np.mean(v10, axis=1), covariance=covariance)


def combat(values: Float, batch: Int, covariates: Float) -> Float:
    """Return pooled rows (n, p) harmonised over batches, by the published formulas.

    Least squares on a design of one column per batch and the covariates (n, q), then the iteration
    of Johnson, Li and Rabinovic 2007, section 3.2, ended as in the R package sva. Written from
    these alone; tests compare it with numbers of neuroCombat.
    """
    n, levels = len(values), np.unique(batch)
    indicators = (batch[:, None] == levels).astype(np.float64)
    design = np.hstack([indicators, covariates - covariates.mean(axis=0)])
    coefficients = np.linalg.lstsq(design, values, rcond=None)[0]
    grand = indicators.mean(axis=0) @ coefficients[: levels.size]
    expected = grand + design[:, levels.size :] @ coefficients[levels.size :]
    sigma = np.sqrt(np.square(values - design @ coefficients).sum(axis=0) / n)
    z = (values - expected) / sigma
    adjusted = np.empty_like(z)
    for level in levels:
        own = z[batch == level]
        gamma, delta = _combat_batch(own)
        adjusted[batch == level] = (own - gamma) / np.sqrt(delta)
    return np.asarray(adjusted * sigma + expected)


def _combat_batch(z: Float) -> tuple[Float, Float]:
    n = len(z)
    gamma_hat, delta_hat = z.mean(axis=0), z.var(axis=0, ddof=1)
    gamma_bar, tau2 = gamma_hat.mean(), gamma_hat.var(ddof=1)
    mean, variance = delta_hat.mean(), delta_hat.var(ddof=1)
    shape = mean**2 / variance + 2.0
    scale = mean * (shape - 1.0)
    gamma, delta = gamma_hat, delta_hat
    while True:
        next_gamma = (n * tau2 * gamma_hat + delta * gamma_bar) / (n * tau2 + delta)
        rest = np.square(z - next_gamma).sum(axis=0)
        next_delta = (scale + rest / 2.0) / (n / 2.0 + shape - 1.0)
        moved = np.concatenate(
            [np.abs(next_gamma - gamma) / gamma, np.abs(next_delta - delta) / delta]
        )
        gamma, delta = next_gamma, next_delta
        if moved.max() < 1e-4:
            return gamma, delta
