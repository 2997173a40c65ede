from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import norm
from sklearn.kernel_approximation import Nystroem
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import rbf_kernel as reference_kernel
from sklearn.svm import SVC, LinearSVC

from common.learning.descent import Problem
from common.learning.nystroem import (
    gamma_scale,
    nystroem_map,
    rbf_kernel,
    synthetic_landmarks,
)
from common.learning.svm import SvmBatch
from common.statistics.gram import CentredGram, FoldGram
from common.transforms import KernelMap

SHAPES = [(300, 20), (30, 80), (5, 3)]
CLIP = 3.0


def exact(table: Any) -> CentredGram:
    statistic = FoldGram(folds=5)
    return statistic.finalise(statistic.from_rows(table)).training()


def correlated(n: int, p: int, seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    factors = random.normal(size=(n, max(p // 4, 1))) @ random.normal(size=(max(p // 4, 1), p))
    return 1.5 + factors + 0.5 * random.normal(size=(n, p))


def curved(seed: int, n: int = 300, unseen: int = 1000) -> tuple[Any, Any]:
    """Twenty columns on six factors; the label follows products and waves of five of them."""
    random = np.random.default_rng(seed)
    rows = n + unseen
    values = random.normal(size=(rows, 6)) @ random.normal(size=(6, 20)) / np.sqrt(6)
    values += 0.5 * random.normal(size=(rows, 20))
    values = np.clip((values - values[:n].mean(axis=0)) / values[:n].std(axis=0), -CLIP, CLIP)
    a, b, c, d, e = values[:, :5].T
    score = a * b + 0.5 * c**2 + 0.7 * np.sin(2 * d) + 0.4 * e + 0.5 * random.normal(size=rows)
    return values, (score > np.quantile(score, 0.65)).astype(float)


def kernel_map(columns: Any, landmarks: Any, gamma: float) -> KernelMap:
    projection = nystroem_map(landmarks, gamma, 1e-6)
    names = tuple(f"kernel{i:03d}" for i in range(projection.shape[1]))
    return KernelMap(columns, landmarks, gamma, projection, names)


@pytest.mark.parametrize(("n", "p"), SHAPES)
@pytest.mark.parametrize("offset", [0.0, 4.0])
def test_gamma_is_that_of_scikit_learn(rows: Any, n: int, p: int, offset: float) -> None:
    values = correlated(n, p) + offset
    model = SVC(gamma="scale").fit(values, np.arange(n) % 2)
    assert gamma_scale(exact(rows(values))) == pytest.approx(model._gamma, rel=1e-12)


@pytest.mark.parametrize("constant", [0.0, 0.1, 7.0])
def test_gamma_of_constant_data_is_that_of_scikit_learn(rows: Any, constant: float) -> None:
    assert gamma_scale(exact(rows(np.full((20, 4), constant)))) == 1.0


def test_landmarks_of_independent_columns_are_plain_normal_draws() -> None:
    mean = np.array([1.0, -2.0, 0.5])
    gram = CentredGram(n=50.0, mean_x=mean, mean_y=0.5, gram=50.0 * np.eye(3), xy=mean, yy=1.0)
    shares = np.random.default_rng(11).integers(0, 2**32, (8, 3), dtype=np.uint32) / 2.0**32
    expected = mean + norm.ppf(shares)
    np.testing.assert_allclose(synthetic_landmarks(gram, 8, 11, None), expected, atol=1e-6)


@pytest.mark.parametrize(("n", "p"), SHAPES)
def test_many_landmarks_have_the_mean_and_covariance_of_the_rows(rows: Any, n: int, p: int) -> None:
    values = correlated(n, p)
    landmarks = synthetic_landmarks(exact(rows(values)), 40_000, 3, None)
    largest = values.std(axis=0).max()
    np.testing.assert_allclose(landmarks.mean(axis=0), values.mean(axis=0), atol=0.03 * largest)
    np.testing.assert_allclose(
        np.cov(landmarks.T), np.cov(values.T, bias=True), atol=0.05 * largest**2
    )


def test_landmarks_stay_where_the_rows_have_spread(rows: Any) -> None:
    values = correlated(12, 30)
    values[:, 4] = 2.5
    landmarks = synthetic_landmarks(exact(rows(values)), 64, 0, None)
    centred = values - values.mean(axis=0)
    basis = np.linalg.svd(centred, full_matrices=False)[2][:11]
    away = landmarks - values.mean(axis=0)
    np.testing.assert_allclose(away @ basis.T @ basis, away, atol=1e-9)
    np.testing.assert_allclose(landmarks[:, 4], 2.5, atol=1e-9)


def test_landmarks_follow_from_the_sums_and_not_from_the_rows(rows: Any) -> None:
    n = 40
    values = correlated(n, 6)
    random = np.random.default_rng(5)
    # an orthogonal matrix that keeps the vector of ones turns rows into others of the same sums
    start = np.column_stack([np.ones(n), random.normal(size=(n, n - 1))])
    basis = np.linalg.qr(start)[0]
    turn = np.eye(n)
    turn[1:, 1:] = np.linalg.qr(random.normal(size=(n - 1, n - 1)))[0]
    others = basis @ turn @ basis.T @ values
    assert cdist(values, others).min() > 0.1
    first, second = (synthetic_landmarks(exact(rows(v)), 256, 1, None) for v in (values, others))
    np.testing.assert_allclose(first, second, atol=1e-6)


@pytest.mark.parametrize("p", [20, 80])
@pytest.mark.parametrize("spread", [np.ones(80), np.linspace(3.0, 0.1, 80)])
def test_rounding_of_the_sums_moves_no_landmark(p: int, spread: Any) -> None:
    random = np.random.default_rng(2)
    zeros = np.zeros(p)
    scale = 300.0 * np.diag(np.where(np.arange(p) < 20, spread[:p], 0.0))
    noise = 2.0**-32 * random.uniform(-1, 1, size=(p, p))
    gram = CentredGram(n=300.0, mean_x=zeros, mean_y=0.0, gram=scale, xy=zeros, yy=1.0)
    rounded = dataclasses.replace(gram, gram=scale + (noise + noise.T) / 2)
    first, second = (synthetic_landmarks(g, 64, 0, None) for g in (gram, rounded))
    np.testing.assert_allclose(first, second, atol=1e-8)


@pytest.mark.parametrize(("n", "p"), SHAPES)
@pytest.mark.parametrize("clip", [None, CLIP])
def test_no_landmark_is_a_patient(rows: Any, n: int, p: int, clip: float | None) -> None:
    values = correlated(n, p)
    values = values if clip is None else np.clip(values, -clip, clip)
    for seed in range(5):
        landmarks = synthetic_landmarks(exact(rows(values)), 256, seed, clip)
        assert cdist(landmarks, values).min() > 1e-6


def test_landmarks_are_clipped_as_the_data_and_fewer_are_the_first_of_more(rows: Any) -> None:
    gram = exact(rows(correlated(100, 8)))
    free, clipped = (synthetic_landmarks(gram, 128, 4, clip) for clip in (None, 2.0))
    np.testing.assert_array_equal(clipped, np.clip(free, -2.0, 2.0))
    assert np.abs(free).max() > 2.0
    np.testing.assert_allclose(synthetic_landmarks(gram, 64, 4, None), free[:64], atol=1e-12)
    assert cdist(synthetic_landmarks(gram, 128, 5, None), free).min() > 1e-6


def test_the_kernel_is_that_of_scikit_learn() -> None:
    first, second = correlated(30, 7), correlated(20, 7, seed=1)
    expected = reference_kernel(first, second, gamma=0.03)
    np.testing.assert_allclose(rbf_kernel(first, second, 0.03), expected, rtol=1e-12)


def test_features_are_those_of_scikit_learns_nystroem_up_to_rotation(rows: Any) -> None:
    values = correlated(60, 10)
    landmarks = synthetic_landmarks(exact(rows(values)), 40, 0, None)
    pooled = Nystroem(kernel="rbf", gamma=0.05, n_components=40, random_state=0).fit(landmarks)
    expected = pooled.transform(values)
    features = rbf_kernel(values, landmarks, 0.05) @ nystroem_map(landmarks, 0.05, 0.0)
    np.testing.assert_allclose(features @ features.T, expected @ expected.T, atol=1e-8)


def test_features_inner_products_are_the_kernel_on_the_landmarks(rows: Any) -> None:
    landmarks = synthetic_landmarks(exact(rows(correlated(60, 10))), 100, 0, None)
    kernel = rbf_kernel(landmarks, landmarks, 0.05)
    features = kernel @ nystroem_map(landmarks, 0.05, 0.0)
    np.testing.assert_allclose(features @ features.T, kernel, atol=1e-8)


def test_more_landmarks_approximate_the_kernel_of_new_rows_better(rows: Any) -> None:
    values, _ = curved(seed=0)
    gram = exact(rows(values[:300]))
    gamma = gamma_scale(gram)
    kernel = rbf_kernel(values[300:600], values[:300], gamma)
    errors = []
    for count in (64, 128, 256):
        landmarks = synthetic_landmarks(gram, count, 0, CLIP)
        features = rbf_kernel(values, landmarks, gamma) @ nystroem_map(landmarks, gamma, 1e-6)
        near = features[300:600] @ features[:300].T
        errors.append(float(np.linalg.norm(near - kernel) / np.linalg.norm(kernel)))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.05


def test_alike_landmarks_leave_out_components_and_keep_the_features_short(rows: Any) -> None:
    landmarks = synthetic_landmarks(exact(rows(correlated(60, 2))), 200, 0, None)
    projection = nystroem_map(landmarks, 0.05, 1e-6)
    assert projection.shape[1] < 100
    rank = np.linalg.matrix_rank(rbf_kernel(landmarks, landmarks, 0.05), hermitian=True)
    assert projection.shape[1] < nystroem_map(landmarks, 0.05, 0.0).shape[1] == rank < 200
    features = rbf_kernel(correlated(500, 2, seed=1), landmarks, 0.05) @ projection
    assert np.linalg.norm(features, axis=1).max() <= 1 + 1e-6
    leading = projection[np.abs(projection).argmax(axis=0), np.arange(projection.shape[1])]
    assert (leading > 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_machine_on_the_map_decides_as_svc_does(rows: Any, summed: Any, seed: int) -> None:
    values, label = curved(seed)
    n = 300
    train, unseen = rows(values[:n], label[:n]), rows(values[n:], label[n:])
    gram = summed(FoldGram(folds=5), train).training()
    landmarks = synthetic_landmarks(gram, 256, seed, CLIP)
    step = kernel_map(train.columns, landmarks, gamma_scale(gram))
    table = step.apply(train)
    batch = SvmBatch(summed(FoldGram(folds=5), table), [Problem(cost=1.0)], tolerance=1e-4)
    while not batch.converged and batch.rounds < 25:
        batch.update(summed(batch.request(), table))
    assert batch.converged
    decision = step.apply(unseen).values @ batch.weights[0, :-1] + batch.weights[0, -1]
    pooled = SVC(kernel="rbf", gamma="scale", C=1.0).fit(values[:n], label[:n])
    expected = pooled.decision_function(values[n:])
    assert np.corrcoef(decision, expected)[0, 1] >= 0.95
    # on all rows as landmarks the map is exact: what is left is the loss, hinge or squared hinge
    whole = Nystroem(kernel="rbf", gamma=step.gamma, n_components=n).fit(values[:n])
    squared = LinearSVC(C=1.0, dual=False, tol=1e-8).fit(whole.transform(values[:n]), label[:n])
    same_loss = squared.decision_function(whole.transform(values[n:]))
    assert np.corrcoef(decision, same_loss)[0, 1] >= 0.96
    own, theirs = (roc_auc_score(label[n:], score) for score in (decision, expected))
    assert theirs > 0.7
    assert abs(own - theirs) <= 0.02


def test_wrong_requests_are_errors(rows: Any) -> None:
    gram = exact(rows(correlated(20, 3)))
    with pytest.raises(ValueError, match="0 landmarks"):
        synthetic_landmarks(gram, 0, 0, None)
    with pytest.raises(ValueError, match="clip 0"):
        synthetic_landmarks(gram, 4, 0, 0.0)
    with pytest.raises(ValueError, match="from 1 rows"):
        synthetic_landmarks(dataclasses.replace(gram, n=1.0), 4, 0, None)
    with pytest.raises(ValueError, match="gamma 0"):
        nystroem_map(np.eye(3), 0.0, 1e-6)
    with pytest.raises(ValueError, match="rank tolerance 1"):
        nystroem_map(np.eye(3), 1.0, 1.0)
