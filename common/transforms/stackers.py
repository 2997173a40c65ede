"""Fitted classifiers as arithmetic: a forest, boosted trees, a calibrated linear machine.

Made by scikit-learn, which writes them to a skops file; computed here from the numbers in it, each
looked at first. Probabilities are those that scikit-learn gives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy
from numpy.typing import NDArray

from common.statistics.base import Float
from common.transforms.skops_data import SkopsFile, SkopsNode

Index = NDArray[np.int64]
TREE = "sklearn.tree._tree.Tree"
LEAF = -1
_EPSILON = float(np.finfo(np.float64).eps)


class Stacker(Protocol):
    """A fitted classifier of two classes."""

    def probability(self, x: Float) -> Float:
        """Probability (n,) of the positive class."""


@dataclass(frozen=True)
class Tree:
    """Nodes of one tree; every child comes after its parent, so that each way down ends.

    Parameters
    ----------
    left, right : children, -1 in a leaf.
    feature, threshold : where to go left (at most the threshold) or right; unused in a leaf.
    value : (nodes, k), what a leaf says.
    """

    left: Index
    right: Index
    feature: Index
    threshold: Float
    value: Float

    def at(self, x: Float) -> Float:
        """What the leaf of each row says, (n, k); the trees compare in single precision."""
        single, place = x.astype(np.float32), np.zeros(len(x), dtype=np.int64)
        inner = np.flatnonzero(self.left[place] != LEAF)
        while inner.size:
            node = place[inner]
            goes_left = single[inner, self.feature[node]] <= self.threshold[node]
            place[inner] = np.where(goes_left, self.left[node], self.right[node])
            inner = inner[self.left[place[inner]] != LEAF]
        return self.value[place]


@dataclass(frozen=True)
class Forest:
    """The mean of what the trees say."""

    trees: tuple[Tree, ...]

    def probability(self, x: Float) -> Float:
        """Share of the positive class, over all trees."""
        total = np.zeros(len(x))
        for tree in self.trees:
            total += tree.at(x)[:, 1]
        return total / len(self.trees)


@dataclass(frozen=True)
class Boosting:
    """Log odds at the start, and what every tree adds."""

    start: float
    rate: float
    trees: tuple[Tree, ...]

    def probability(self, x: Float) -> Float:
        """Of the summed log odds."""
        raw = np.full(len(x), self.start)
        for tree in self.trees:
            raw += self.rate * tree.at(x)[:, 0]
        return np.asarray(scipy.special.expit(raw))


@dataclass(frozen=True)
class Machine:
    """A linear machine on scaled columns, and Platt's scaling of its decision value."""

    mean: Float
    scale: Float
    weights: Float
    intercept: float
    a: float
    b: float

    def probability(self, x: Float) -> Float:
        """Of the scaled decision value."""
        decision = (x - self.mean) / self.scale @ self.weights + self.intercept
        return np.asarray(scipy.special.expit(-(self.a * decision + self.b)))


def read_stacker(blob: bytes, columns: int) -> Stacker:
    """The classifier in a skops file.

    Parameters
    ----------
    columns : how many it must have been fitted on.

    Raises
    ------
    ValueError : not one of the three kinds, or with numbers that no fit gives.
    """
    root = SkopsFile(blob).root
    return READERS[root.of_type(*READERS).type_name](root, columns)


def _forest(root: SkopsNode, columns: int) -> Forest:
    _check_fit(root, columns)
    own = "sklearn.tree._classes.DecisionTreeClassifier"
    found = []
    for one in root["estimators_"].items():
        _check_classes(one.of_type(own)["classes_"])
        tree = _tree(one["tree_"], columns, 2)
        if (tree.value < 0.0).any() or (abs(tree.value.sum(axis=1) - 1.0) > 1e-6).any():
            raise ValueError("the stacker has shares of classes that do not add up to one")
        found.append(tree)
    return Forest(_some(found))


def _boosting(root: SkopsNode, columns: int) -> Boosting:
    _check_fit(root, columns)
    start = root["init_"].of_type("sklearn.dummy.DummyClassifier")
    if start["_strategy"].text() != "prior" or root["loss"].text() != "log_loss":
        raise ValueError("the stacker is boosted in a way that this release does not make")
    share = start["class_prior_"].numbers((2,))[1]
    own = "sklearn.tree._classes.DecisionTreeRegressor"
    found = []
    for row in root["estimators_"].items():
        (one,) = row.items()
        found.append(_tree(one.of_type(own)["tree_"], columns, 1))
    log_odds = float(scipy.special.logit(np.clip(share, _EPSILON, 1.0 - _EPSILON)))
    return Boosting(log_odds, root["learning_rate"].number(), _some(found))


def _machine(root: SkopsNode, columns: int) -> Machine:
    (_, scaler), (_, outer) = (step.items() for step in root["steps"].items())
    scaler.of_type("sklearn.preprocessing._data.StandardScaler")
    _check_fit(outer.of_type("sklearn.calibration.CalibratedClassifierCV"), columns)
    (calibrated,) = outer["calibrated_classifiers_"].items()
    calibrated.of_type("sklearn.calibration._CalibratedClassifier")
    _check_classes(calibrated["classes"])
    machine = calibrated["estimator"].of_type("sklearn.svm._classes.LinearSVC")
    _check_fit(machine, columns)
    (platt,) = calibrated["calibrators"].items()
    platt.of_type("sklearn.calibration._SigmoidCalibration")
    scale = scaler["scale_"].numbers((columns,))
    if (scale <= 0.0).any():
        raise ValueError("the stacker has a scale that is not positive")
    return Machine(
        mean=scaler["mean_"].numbers((columns,)),
        scale=scale,
        weights=machine["coef_"].numbers((1, columns))[0],
        intercept=float(machine["intercept_"].numbers((1,))[0]),
        a=platt["a_"].number(),
        b=platt["b_"].number(),
    )


READERS: dict[str, Callable[[SkopsNode, int], Stacker]] = {
    "sklearn.ensemble._forest.RandomForestClassifier": _forest,
    "sklearn.ensemble._gb.GradientBoostingClassifier": _boosting,
    "sklearn.pipeline.Pipeline": _machine,
}


def _check_fit(node: SkopsNode, columns: int) -> None:
    """ValueError unless fitted on so many columns and on the classes 0 and 1."""
    if node["n_features_in_"].number() != columns:
        raise ValueError("the stacker was fitted on another number of columns")
    _check_classes(node["classes_"])


def _check_classes(node: SkopsNode) -> None:
    if node.numbers((2,)).tolist() != [0.0, 1.0]:
        raise ValueError("the stacker tells other classes apart than 0 and 1")


def _some(trees: list[Tree]) -> tuple[Tree, ...]:
    if not trees:
        raise ValueError("the stacker has no trees")
    return tuple(trees)


def _tree(node: SkopsNode, columns: int, width: int) -> Tree:
    """A tree whose every step down leads to a node that is there, and further down."""
    nodes = node.of_type(TREE)["nodes"].array()
    names = nodes.dtype.names or ()
    if nodes.ndim != 1 or not nodes.size:
        raise ValueError("the stacker has a tree without nodes")
    left, right, feature = (
        _whole(nodes, names, name) for name in ("left_child", "right_child", "feature")
    )
    threshold = _field(nodes, names, "threshold").astype(np.float64)
    count, leaf = nodes.size, left == LEAF
    parent = np.arange(count)
    for child in (left, right):
        if not np.where(leaf, child == LEAF, (child > parent) & (child < count)).all():
            raise ValueError("the stacker has a tree whose branches lead nowhere")
    if not (leaf | ((feature >= 0) & (feature < columns))).all():
        raise ValueError("the stacker has a tree over a column that is not there")
    if not (leaf | np.isfinite(threshold)).all():
        raise ValueError("the stacker has a tree with a threshold that is not finite")
    value = node["values"].numbers((count, 1, width))[:, 0, :]
    return Tree(left, right, feature, threshold, value)


def _whole(nodes: NDArray[np.void], names: tuple[str, ...], name: str) -> Index:
    found = _field(nodes, names, name)
    if found.dtype.kind not in "iu":
        raise ValueError("the stacker has a tree of another layout")
    return found.astype(np.int64)


def _field(nodes: NDArray[np.void], names: tuple[str, ...], name: str) -> NDArray[np.float64]:
    if name not in names or nodes[name].ndim != 1 or nodes[name].dtype.kind not in "iuf":
        raise ValueError("the stacker has a tree of another layout")
    return nodes[name]
