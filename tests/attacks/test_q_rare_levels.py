"""Attack (q): rows of patients with a rare level, from the sums by fold.

In the paper's own layout one hospital trains, and the coordinator sees its sums as they are. Of its
300 patients 11 are women and 8 have cartilage invasion: fewer than `min_category` a fold. Over
several hospitals it sees the totals, of as many patients.
"""

from __future__ import annotations

from itertools import combinations as combinations_of
from itertools import product
from typing import Any

import numpy as np
import pytest

from client.data.folds import Reserve, deal, quotas
from common.statistics.base import Rows
from common.statistics.exact import unpack
from common.statistics.gram import FoldGram
from common.study.model import Study
from common.transforms import Standardise
from server.phases import clinical
from server.phases.clinical import fit_clinical
from sim.phantom.clinical import COUNTS, LEVELS
from tests import builders

pytestmark = pytest.mark.usefixtures("server_identity")
FOLDS, FEWEST = 5, 5
# Table 1 has nine variables; the two numbers stand beside those with levels
NUMBERS = {"age": (61.0, 8.0), "max_diameter_cm": (3.2, 1.5)}
SIZES = [(300,), (100, 100, 100), (75, 75, 75, 75), (140, 75, 45, 40), (150, 80, 50, 20)]
# the smallest hospital has four patients a fold: fewer than the defaults ask for
SMALLEST = {"min_rows_per_fold": 3, "min_class_per_fold": 1}


def columns_of_table_1() -> list[dict[str, Any]]:
    columns = [builders.number(name) for name in NUMBERS]
    columns += [
        builders.levels(name, *own, kind="binary" if len(own) == 2 else "categorical")
        for name, own in LEVELS.items()
    ]
    return columns


@pytest.fixture(scope="module")
def study() -> Study:
    """The recipe of docs/paper.md, for the clinical model."""
    return builders.study(
        sites=["qilu"],
        visitors=["huaxi", "pkuph", "qfs"],
        tests={"internal": ("internal_test", ["qilu"])},
        clinical=columns_of_table_1(),
        privacy={"masking": "where_possible", "min_cell": 1},
    )


def study_of(sizes: tuple[int, ...]) -> Study:
    """The same over several hospitals."""
    names = [f"h{place}" for place in range(len(sizes))]
    return builders.study(
        sites=names,
        tests={"internal": ("internal_test", names)},
        clinical=columns_of_table_1(),
        privacy=SMALLEST if min(sizes) < 40 else {},
    )


def table_1(seed: int) -> tuple[dict[str, Any], Any, Any]:
    """300 patients on the marginals of Table 1, with an outcome that follows some of them."""
    random = np.random.default_rng(seed)
    coded = {
        name: random.permutation(np.repeat(np.arange(len(own)), own))
        for name, own in COUNTS["training"].items()
    }
    risk = random.normal(size=300) + coded["t_stage"] + 2 * coded["cartilage_invasion"]
    label = (risk > np.sort(risk)[-124]).astype(float)
    # every stretch of patients, such as a hospital, has its share of both classes
    rank = np.where(
        label > 0.5, label.cumsum() / label.sum(), (1 - label).cumsum() / (1 - label).sum()
    )
    order = np.argsort(rank, kind="stable")
    coded, label = {name: own[order] for name, own in coded.items()}, label[order]
    has = np.hstack([own[:, None] == np.arange(own.max() + 1) for own in coded.values()])
    return coded, label, has


def hospital(study: Study, seed: int, *, spread: bool = True) -> dict[str, dict[str, Rows]]:
    """All of them at one hospital."""
    (own,) = hospitals(study, seed, (300,), spread=spread).values()
    return {"qilu": own}


def hospitals(
    study: Study, seed: int, sizes: tuple[int, ...], *, spread: bool = True
) -> dict[str, dict[str, Rows]]:
    """Tables of hospitals of these sizes, with folds dealt by the counts of all of them."""
    coded, label, has = table_1(seed)
    random = np.random.default_rng(seed + 1000)
    values = [random.normal(*NUMBERS[name], 300) for name in NUMBERS]
    values += [own == code for own in coded.values() for code in range(1, own.max() + 1)]
    table, everyone = np.column_stack(values).astype(float), has.sum(axis=0).astype(float)
    privacy, found = study.privacy, {}
    for place, at in enumerate(np.split(np.arange(300), np.cumsum(sizes)[:-1])):
        at = at[np.argsort(label[at], kind="stable")]
        fold = np.arange(at.size) % FOLDS
        if spread:
            own = has[at].sum(axis=0).astype(float)
            wanted = quotas(own, everyone, len(sizes), FOLDS, FEWEST, seed)
            reserve = Reserve(privacy.min_class_per_fold, privacy.min_rows_per_fold)
            fold = deal(label[at].astype(np.int64), has[at], FOLDS, wanted, reserve)
        rows = Rows(table[at], study.clinical_columns, label[at], fold)
        found[f"h{place}"] = {"clinical": rows}
    return found


def recovered(known: Any, column: str) -> list[tuple[Any, Any]]:
    """Summed rows by fold of the patients with a level, and of those without; and their numbers."""
    item, gram = next((i, r) for i, r in known if isinstance(i.statistic, FoldGram))
    at = item.view.outputs().index(column)
    scaled = next(s for s in item.view.transforms if isinstance(s, Standardise))
    one = scaled.columns.index(column)
    ends = [(end - scaled.mean[one]) / scaled.scale[one] for end in (0.0, 1.0)]
    low, high = np.clip(ends, -3.0, 3.0)
    products = np.array([unpack(own, gram.p)[at] for own in gram.gram])
    sums = (products - low * gram.sum_x) / (high - low)
    n = np.rint((gram.sum_x[:, at] - low * gram.n) / (high - low))
    return [(sums, n), (gram.sum_x - sums, gram.n - n)]


def patients_of(found: Any, known: Any) -> Any:
    """Rows of all patients as they enter the matrices."""
    item = next(i for i, _ in known if isinstance(i.statistic, FoldGram))
    scaled = next(s for s in item.view.transforms if isinstance(s, Standardise))
    columns = next(iter(found.values()))["clinical"].columns
    values = np.vstack([own["clinical"].values for own in found.values()])
    at = [columns.index(name) for name in item.view.outputs()]
    own = [scaled.columns.index(name) for name in item.view.outputs()]
    z = (values[:, at] - scaled.mean[own]) / scaled.scale[own]
    return np.clip(z, -3.0, 3.0)


def nearest(candidates: Any, patients: Any) -> float:
    """Distance of the closest pair, in deviations a column."""
    return min(float(np.abs(patients - one).max(axis=1).min()) for one in candidates)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_all_nine_variables_of_the_papers_table_are_kept(
    study: Study, sizes: tuple[int, ...], seed: int
) -> None:
    own = study_of(sizes) if len(sizes) > 1 else study
    found = hospitals(own, seed, sizes) if len(sizes) > 1 else hospital(own, seed)
    model = fit_clinical(builders.federation(found, own))
    assert model.selection["left_out"] == ()
    assert next(s for s in model.selection["steps"] if s["step"] == "rare")["names"] == ()


def combinations(known: Any) -> tuple[Any, Any]:
    """Every mean row that sums and differences of folds give of a level, and its patients."""
    weights = np.array([own for own in product((-1, 0, 1), repeat=FOLDS) if any(own)])
    item = next(i for i, _ in known if isinstance(i.statistic, FoldGram))
    rows, sizes = [], []
    for column in (name for name in item.view.outputs() if "=" in name):
        for sums, n in recovered(known, column):
            size = np.abs(weights) @ n
            rows.append((weights @ sums)[size > 0] / size[size > 0, None])
            sizes.append(size[size > 0])
    return np.vstack(rows), np.concatenate(sizes)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_no_sum_or_difference_of_folds_is_about_few_patients(
    study: Study, sizes: tuple[int, ...]
) -> None:
    study = study_of(sizes) if len(sizes) > 1 else study
    found = hospitals(study, 1, sizes) if len(sizes) > 1 else hospital(study, 1)
    federation = builders.federation(found, study)
    fit_clinical(federation)
    rows, sizes = combinations(federation.known)
    assert sizes.min() >= FEWEST
    assert nearest(rows, patients_of(found, federation.known)) > 0.1


def fewest_apart(values: Any, folds: Any) -> int:
    """Count the fewest patients of a fold whom sums or differences of up to three levels set apart.

    Such a combination has one value in all other patients, so that the same combination of the
    matrix's rows is the weighted sum of these patients' rows.
    """
    found = []
    for signs in ((1,), (1, 1), (1, -1), *product((1,), (1, -1), (1, -1))):
        for at in combinations_of(range(values.shape[1]), len(signs)):
            mixed = (values[:, at] @ signs).astype(np.int64) + len(signs)
            for fold in range(FOLDS):
                own = mixed[folds == fold]
                found.append(own.size - int(np.bincount(own).max()))
    return min(one for one in found if one)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_no_combination_of_columns_is_about_few_patients(
    study: Study, sizes: tuple[int, ...]
) -> None:
    study = study_of(sizes) if len(sizes) > 1 else study
    found = hospitals(study, 2, sizes) if len(sizes) > 1 else hospital(study, 2)
    federation = builders.federation(found, study)
    fit_clinical(federation)
    rows = [own["clinical"] for own in found.values()]
    folds = np.concatenate([own.fold for own in rows])
    levels = [i for i, name in enumerate(study.clinical_columns) if "=" in name]
    assert fewest_apart(np.vstack([own.values for own in rows])[:, levels], folds) >= FEWEST
    # with all columns and any weights, a patient is set apart where the leverage is 1
    entered = patients_of(found, federation.known)
    for fold in range(FOLDS):
        own = entered[folds == fold]
        left, spread, _ = np.linalg.svd(np.column_stack([np.ones(len(own)), own]), False)
        assert (left[:, spread > 1e-9 * spread[0]] ** 2).sum(axis=1).max() < 0.9


def test_folds_dealt_by_chance_would_give_patients_away(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        clinical, "frequent_clinical", lambda _, names, found: np.ones(len(names), dtype=bool)
    )
    off = study.privacy.model_copy(update={"min_category": 0})
    found = hospital(study, 1, spread=False)
    federation = builders.federation(found, study.model_copy(update={"privacy": off}))
    fit_clinical(federation)
    rows, sizes = combinations(federation.known)
    assert sizes.min() == 1
    assert nearest(rows, patients_of(found, federation.known)) < 1e-6
