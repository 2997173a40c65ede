"""Attack (q): rows of patients with a rare level, from the fold sums of the only training hospital.

In the paper's own layout one hospital trains, and the coordinator sees its sums as they are. Of its
300 patients 11 are women and 8 have cartilage invasion: fewer than `min_category` a fold.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from client.data.folds import deal
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


@pytest.fixture(scope="module")
def study() -> Study:
    """The recipe of docs/paper.md, for the clinical model."""
    columns = [builders.number(name) for name in NUMBERS]
    columns += [
        builders.levels(name, *own, kind="binary" if len(own) == 2 else "categorical")
        for name, own in LEVELS.items()
    ]
    return builders.study(
        sites=["qilu"],
        visitors=["huaxi", "pkuph", "qfs"],
        tests={"internal": ("internal_test", ["qilu"])},
        clinical=columns,
        privacy={"masking": "where_possible", "min_cell": 1},
    )


def hospital(study: Study, seed: int, *, spread: bool = True) -> dict[str, dict[str, Rows]]:
    """300 patients on the marginals of Table 1, with an outcome that follows some of them."""
    random = np.random.default_rng(seed)
    coded = {
        name: random.permutation(np.repeat(np.arange(len(own)), own))
        for name, own in COUNTS["training"].items()
    }
    risk = random.normal(size=300) + coded["t_stage"] + 2 * coded["cartilage_invasion"]
    label = (risk > np.sort(risk)[-124]).astype(float)
    order = np.argsort(label, kind="stable")
    has = np.hstack([own[:, None] == np.arange(own.max() + 1) for own in coded.values()])
    fold = np.empty(300, dtype=np.int64)
    fewest = FEWEST if spread else 0
    fold[order] = deal(label[order].astype(np.int64), has[order], FOLDS, fewest, seed)
    values = [random.normal(*NUMBERS[name], 300) for name in NUMBERS]
    values += [own == code for own in coded.values() for code in range(1, own.max() + 1)]
    rows = Rows(np.column_stack(values).astype(float), study.clinical_columns, label, fold)
    return {"qilu": {"clinical": rows}}


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
    rows = found["qilu"]["clinical"]
    at = [rows.columns.index(name) for name in item.view.outputs()]
    own = [scaled.columns.index(name) for name in item.view.outputs()]
    z = (rows.values[:, at] - scaled.mean[own]) / scaled.scale[own]
    return np.clip(z, -3.0, 3.0)


def nearest(candidates: Any, patients: Any) -> float:
    """Distance of the closest pair, in deviations a column."""
    return min(float(np.abs(patients - one).max(axis=1).min()) for one in candidates)


@pytest.mark.parametrize("seed", range(20))
def test_all_nine_variables_of_the_papers_table_are_kept(study: Study, seed: int) -> None:
    model = fit_clinical(builders.federation(hospital(study, seed), study))
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


def test_no_sum_or_difference_of_folds_is_about_few_patients(study: Study) -> None:
    found = hospital(study, 1)
    federation = builders.federation(found, study)
    fit_clinical(federation)
    rows, sizes = combinations(federation.known)
    assert sizes.min() >= FEWEST
    assert nearest(rows, patients_of(found, federation.known)) > 0.1


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
