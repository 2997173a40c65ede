"""Fitted classifiers as arithmetic: a forest, boosted trees, a calibrated linear machine.

scikit-learn fits them and skops writes them to a file; here they are computed from the numbers in
that file, each checked first. Probabilities equal those of scikit-learn.
"""

from __future__ import annotations

import ast
import io
import math
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self
from zipfile import BadZipFile

import numpy as np
import scipy
from numpy.lib.format import descr_to_dtype
from numpy.typing import NDArray

from common.statistics.base import Float
from common.utils.bounded import parse_json, read_zip

Array = NDArray[Any]
_NOT_ONE = "not a stacker that this release reads"
_MAGIC = b"\x93NUMPY\x01\x00"
LONGEST_HEAD = 1024
MOST_PARTS = 100_000
"""Members of a skops file; a forest of 500 trees has 2500."""
# raised by Python's readers where a file is damaged
_UNREADABLE = (
    *(BadZipFile, LookupError, RuntimeError, EOFError, OSError),
    *(MemoryError, OverflowError, struct.error),
)


class SkopsFile:
    """Parts of one skops file.

    Raises
    ------
    ValueError : not a skops file, or a compressed one, whose size would not bound its content.
    """

    def __init__(self, blob: bytes) -> None:
        self._left = len(blob)
        try:
            file = io.BytesIO(blob)
            self._parts = read_zip(file, most_members=MOST_PARTS, most_bytes=len(blob))
            self._schema = parse_json(self._parts["schema.json"])
            self._known = dict(_numbered(self._schema))
        except (*_UNREADABLE, ValueError) as error:
            raise ValueError(f"{_NOT_ONE} ({type(error).__name__})") from None

    @property
    def root(self) -> SkopsNode:
        """Root of the file's content."""
        return SkopsNode(self, self._schema)

    def part(self, name: object) -> bytes:
        """Return the bytes of a part; ValueError where there is none.

        Parts read may not exceed the file in total: a part that many entries refer to would grow.
        """
        if not isinstance(name, str) or name not in self._parts:
            raise ValueError(_NOT_ONE)
        self._left -= len(self._parts[name])
        if self._left < 0:
            raise ValueError(f"{_NOT_ONE}: parts that are used many times over")
        return self._parts[name]

    def known(self, number: object) -> Mapping[str, Any]:
        """Return the entry stored in the file under a number; ValueError where there is none."""
        found = self._known.get(number) if isinstance(number, int) else None
        if found is None:
            raise ValueError(_NOT_ONE)
        return found


class SkopsNode:
    """One entry of the file's schema; reading it as another kind raises ValueError."""

    def __init__(self, file: SkopsFile, state: object) -> None:
        if isinstance(state, dict) and state.get("__loader__") == "CachedNode":
            state = file.known(state.get("__id__"))
        if not isinstance(state, dict):
            raise ValueError(_NOT_ONE)
        self._file, self._state = file, state

    @property
    def type_name(self) -> str:
        """Module and class, as written."""
        return f"{self._state.get('__module__')}.{self._state.get('__class__')}"

    def of_type(self, *names: str) -> Self:
        """Return this node if it stands for one of these classes."""
        if self.type_name not in names:
            raise ValueError(f"the stacker holds a type that is not trusted: {self.type_name}")
        return self

    def __getitem__(self, name: str) -> SkopsNode:
        """Return an attribute of an object, or an entry of a dictionary."""
        inside = self._content(dict)
        if inside.get("__loader__") == "DictNode":  # an object's attributes are a dictionary
            inside = SkopsNode(self._file, inside)._content(dict)
        if name not in inside:
            raise ValueError(f"{_NOT_ONE}: {self.type_name} without {name}")
        return SkopsNode(self._file, inside[name])

    def items(self) -> tuple[SkopsNode, ...]:
        """Return the entries of a list, a tuple or an array of objects."""
        return tuple(SkopsNode(self._file, one) for one in self._content(list))

    def text(self) -> str:
        """Return a text."""
        found = self._plain()
        if not isinstance(found, str):
            raise ValueError(_NOT_ONE)
        return found

    def number(self) -> float:
        """Return a finite number, Python's or numpy's."""
        if self._state.get("__loader__") == "NdArrayNode":
            return float(self.numbers(())[()])
        found = self._plain()
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise ValueError(_NOT_ONE)
        return float(_finite(np.array(found, dtype=np.float64))[()])

    def numbers(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Return an array of finite numbers of this shape; -1 is any length."""
        array = self.array()
        fits = array.ndim == len(shape) and all(
            wanted in (-1, size) for wanted, size in zip(shape, array.shape, strict=True)
        )
        if not fits or array.dtype.kind not in "iuf":
            raise ValueError(f"{_NOT_ONE}: an array of another shape")
        return _finite(array.astype(np.float64))

    def array(self) -> Array:
        """Return an array as it is stored; no objects."""
        if self._state.get("__loader__") != "NdArrayNode" or self._state.get("type") != "numpy":
            raise ValueError(_NOT_ONE)
        return _read_array(self._file.part(self._state.get("file")))

    def _content(self, kind: type) -> Any:
        content = self._state.get("content")
        if not isinstance(content, kind):
            raise ValueError(_NOT_ONE)
        return content

    def _plain(self) -> object:
        if self._state.get("__loader__") != "JsonNode":
            raise ValueError(_NOT_ONE)
        try:
            return parse_json(self._content(str))
        except ValueError:
            raise ValueError(_NOT_ONE) from None


def _read_array(data: bytes) -> Array:
    """Read an array in numpy's format 1.0, of exactly the size that its header says."""
    start = len(_MAGIC) + 2
    head = int.from_bytes(data[len(_MAGIC) : start], "little")
    if not data.startswith(_MAGIC) or head > LONGEST_HEAD:
        raise ValueError(f"{_NOT_ONE}: an array of another format")
    rest = data[start + head :]
    try:
        shape, by_column, dtype = _layout(data[start : start + head].decode("latin1"))
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(rest):
            raise ValueError(f"{_NOT_ONE}: an array of another size than it says")
        if not rest:
            return np.zeros(shape, dtype)
        return np.frombuffer(rest, dtype).reshape(shape, order="F" if by_column else "C")
    except (*_UNREADABLE, SyntaxError, TypeError) as error:
        raise ValueError(f"{_NOT_ONE} ({type(error).__name__})") from None


def _layout(head: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, order and type of a header; numpy's own reader fails on some damaged ones."""
    found = ast.literal_eval(head.strip())
    if not isinstance(found, dict) or not isinstance(found["shape"], tuple):
        raise ValueError(_NOT_ONE)
    shape = found["shape"]
    if not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError(_NOT_ONE)
    return shape, bool(found["fortran_order"]), descr_to_dtype(found["descr"])


def _finite(array: NDArray[np.float64]) -> NDArray[np.float64]:
    if not np.isfinite(array).all():
        raise ValueError(f"{_NOT_ONE}: a number that is not finite")
    return array


def _numbered(state: object) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield nodes with a number of their own, which others refer to."""
    if isinstance(state, dict):
        number = state.get("__id__")
        if isinstance(number, int) and state.get("__loader__") != "CachedNode":
            yield number, state
        for part in state.values():
            yield from _numbered(part)
    elif isinstance(state, list):
        for part in state:
            yield from _numbered(part)


Index = NDArray[np.int64]
TREE = "sklearn.tree._tree.Tree"
LEAF = -1
_EPSILON = float(np.finfo(np.float64).eps)


class Stacker(Protocol):
    """Fitted classifier of two classes."""

    def probability(self, x: Float) -> Float:
        """Return the probability (n,) of the positive class."""


@dataclass(frozen=True)
class Tree:
    """Nodes of one tree; every child comes after its parent, so that each way down ends.

    Parameters
    ----------
    left, right : children, -1 in a leaf.
    feature, threshold : go left at most at the threshold, else right; unused in a leaf.
    value : (nodes, k), values of a leaf.
    """

    left: Index
    right: Index
    feature: Index
    threshold: Float
    value: Float

    def at(self, x: Float) -> Float:
        """Return the leaf values of each row, (n, k); the trees compare in single precision."""
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
    """Mean of the trees' values."""

    trees: tuple[Tree, ...]

    def probability(self, x: Float) -> Float:
        """Return the share of the positive class, over all trees."""
        total = np.zeros(len(x))
        for tree in self.trees:
            total += tree.at(x)[:, 1]
        return total / len(self.trees)


@dataclass(frozen=True)
class Boosting:
    """Log odds at the start, and increments of every tree."""

    start: float
    rate: float
    trees: tuple[Tree, ...]

    def probability(self, x: Float) -> Float:
        """Return the probability of the summed log odds."""
        raw = np.full(len(x), self.start)
        for tree in self.trees:
            raw += self.rate * tree.at(x)[:, 0]
        return np.asarray(scipy.special.expit(raw))


@dataclass(frozen=True)
class FittedSvm:
    """Linear machine on scaled columns, with Platt's scaling of its decision value."""

    mean: Float
    scale: Float
    weights: Float
    intercept: float
    a: float
    b: float

    def probability(self, x: Float) -> Float:
        """Return the probability of the scaled decision value."""
        decision = (x - self.mean) / self.scale @ self.weights + self.intercept
        return np.asarray(scipy.special.expit(-(self.a * decision + self.b)))


def read_stacker(blob: bytes, columns: int) -> Stacker:
    """Read the classifier in a skops file.

    Parameters
    ----------
    columns : number of columns it must have been fitted on.

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


def _machine(root: SkopsNode, columns: int) -> FittedSvm:
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
    return FittedSvm(
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
    """Raise ValueError unless fitted on this many columns and on the classes 0 and 1."""
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
    """Return a tree whose children exist and come after their parents."""
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
