"""Stackers are read as numbers that are looked at, and score as scikit-learn does."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from skops.io import dumps

from common.transforms.stackers import read_stacker

ROOT = Path(__file__).parents[3]
RNG = np.random.default_rng(3)
X = RNG.random((80, 2)).round(3)
Y = (X[:, 0] + 0.4 * RNG.normal(size=80) > 0.5).astype(np.int64)
OTHERS = np.vstack([RNG.random((300, 2)), X])
KINDS: dict[str, Callable[[], Any]] = {
    "forest": lambda: RandomForestClassifier(6, min_samples_leaf=5, random_state=0),
    "boosting": lambda: GradientBoostingClassifier(n_estimators=8, subsample=0.7, random_state=0),
    "svm": lambda: make_pipeline(
        StandardScaler(), CalibratedClassifierCV(LinearSVC(dual=False), cv=3, ensemble=False)
    ),
}


def fitted(kind: str) -> Any:
    return KINDS[kind]().fit(X, Y)


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_scikit_learns_to_the_last_bit(kind: str) -> None:
    model = fitted(kind)
    found = read_stacker(dumps(model), 2).probability(OTHERS)
    np.testing.assert_array_equal(found, model.predict_proba(OTHERS)[:, 1])


@pytest.mark.parametrize("kind", KINDS)
def test_another_number_of_columns_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="columns"):
        read_stacker(dumps(fitted(kind)), 3)


def with_tree(**fields: Any) -> bytes:
    """A forest of a tree whose root, or last node where the name ends so, has other numbers."""
    model = RandomForestClassifier(1, max_depth=2, random_state=0).fit(X, Y)
    tree = model.estimators_[0].tree_
    state = tree.__getstate__()
    state["nodes"] = state["nodes"].copy()
    for name, number in fields.items():
        state["nodes"][name][0] = number
    tree.__setstate__(state)
    return bytes(dumps(model))


@pytest.mark.parametrize(
    "fields",
    [
        {"left_child": 2**40, "right_child": 2**40},
        {"left_child": 2**40},
        {"right_child": 0},
        {"right_child": -5},
        {"left_child": -1},
        {"feature": 2},
        {"feature": -2},
        {"feature": 2**40},
        {"threshold": np.nan},
        {"threshold": np.inf},
    ],
)
def test_a_tree_that_leads_out_of_its_nodes_or_columns_is_refused(fields: dict[str, Any]) -> None:
    read_stacker(with_tree(), 2)
    with pytest.raises(ValueError, match="the stacker has a tree"):
        read_stacker(with_tree(**fields), 2)


def test_leaves_whose_shares_are_none_are_refused() -> None:
    model = fitted("forest")
    model.estimators_[0].tree_.value[:] = 7.0
    with pytest.raises(ValueError, match="add up to one"):
        read_stacker(dumps(model), 2)


@pytest.mark.parametrize(
    "held",
    [partial(print, "never"), LogisticRegression().fit(X, Y), Path, LinearSVC().fit(X, Y)],
)
def test_what_no_study_makes_is_refused(held: Any) -> None:
    with pytest.raises(ValueError, match="a type that is not trusted"):
        read_stacker(dumps(held), 2)


def test_other_classes_than_zero_and_one_are_refused() -> None:
    with pytest.raises(ValueError, match="other classes"):
        read_stacker(dumps(KINDS["forest"]().fit(X, Y + 1)), 2)


def test_a_packed_file_is_refused_whatever_it_would_unpack_to() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b" " * 10_000_000)
    with pytest.raises(ValueError, match="not a stacker"):
        read_stacker(file.getvalue(), 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_stacker_is_refused_or_scores_and_never_ends_the_process(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "stacker.skops"
    path.write_bytes(dumps(fitted(kind)))
    script = Path(__file__).with_name("damage_stackers.py")
    done = subprocess.run(
        [sys.executable, str(script), str(path), "400"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    refused, scored = map(int, done.stdout.split())
    assert min(refused, scored) > 20
