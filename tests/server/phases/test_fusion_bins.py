"""Decision fusion from bin counts, beside decision fusion on pooled rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from common.bundle.bundle import Bundle
from common.evaluation.linkage import cell_edges, row_cells
from common.masking.pooled_rows import slots, to_slots
from common.messages.exchanges import RowsReply, RowsRequest
from common.statistics.base import Rows
from common.transforms import Forest, Select
from common.transforms.views import Joined, View, materialise, table
from server.phases.decision import Decision
from server.phases.fitted_model import FittedModel
from server.phases.fusion_bins import decide_by_bins
from server.phases.fusion_rows import decide_by_rows
from server.phases.program import DECIDE, final_bundle
from server.report.rows import evaluation_rows
from tests import builders

MODELS = ("clinical", "radiomics", "dl3d")
DECIMALS = 4
SHARES = {"a": slice(0, 70), "b": slice(70, 190), "c": slice(190, 300)}
# the last model's probabilities crowd together, as a network's may
STRENGTHS, SPREADS = np.array([0.9, 1.3, 1.1]), np.array([1.0, 0.6, 0.05])


def probabilities(n: int, seed: int) -> tuple[Any, Any]:
    """Probabilities of the three base models, and labels."""
    random = np.random.default_rng(seed)
    label = (random.random(n) < 0.4).astype(float)
    decision = np.outer(label - 0.4, STRENGTHS) + random.normal(size=(n, 3))
    return 1 / (1 + np.exp(-SPREADS * decision)), label


def tables(values: Any, label: Any, own: slice = slice(None)) -> dict[str, Rows]:
    """Return a table of each base model: its out-of-fold probabilities."""
    fold = (np.arange(len(label)) % 5)[own]
    return {
        name: Rows(values[own, [index]], (name,), label[own], fold)
        for index, name in enumerate(MODELS)
    }


def pooled_rows(workspace: Any, request: RowsRequest) -> RowsReply:
    """Answer for any view; a hospital gives rows of models that were trained by fold alone."""
    view = View(source=Joined(parts=tuple(request.columns.values())))
    rows = materialise(view, workspace.tables, "train")
    places = slots(bytes(32), b"", request.counts)[workspace.name]
    cells = row_cells(rows.values, cell_edges(DECIMALS))
    ring = to_slots(cells, rows.label, places, sum(request.counts.values()), DECIMALS)
    return RowsReply(workspace.name, **request.echo, ring32=ring)


def enrolled(
    pooling: str = "bins",
    sites: str = "abc",
    label: Any = None,
    fusion_models: tuple[str, ...] = ("fusion_decision",),
) -> builders.Recorded:
    """Return three sites with the patients of `SHARES`, or one that has them all."""
    values, own = probabilities(300, 0)
    label = own if label is None else label
    study = builders.study(
        sites=sites,
        base_models=list(MODELS),
        fusion_models=list(fusion_models),
        tests={"t": ("external_test", sites[-1])},
        privacy={"min_cell": 0},
        fusion={
            "pooling": pooling,
            "trees": 40,
            "candidates": ["forest"],
            "row_decimals": DECIMALS,
        },
    )
    shares = SHARES if len(sites) > 1 else {sites: slice(None)}
    held = {name: tables(values, label, shares[name]) for name in sites}
    return builders.federation(held, study, {"query.rows": pooled_rows})


FITTED = {
    name: FittedModel(
        name=name,
        out_of_fold=table(name).then(Select(columns=(name,))),
        final=table(name).then(Select(columns=(name,))),
        features=(),
        selection={},
    )
    for name in MODELS
}


def rows_of(decision: Decision) -> dict[str, list[dict[str, Any]]]:
    return evaluation_rows(decision.training, 3)


def areas(decision: Decision) -> dict[str, float]:
    return {row["model"]: row["auc"] for row in rows_of(decision)["performance"]}


def on_new_patients(decision: Decision) -> float:
    values, label = probabilities(3000, 1)
    rows = materialise(
        decision.models["fusion_decision"], builders.Memory(tables(values, label)), "t"
    )
    return float(roc_auc_score(label, rows.values[:, 0]))


@pytest.mark.parametrize(("pooling", "rows"), [("bins", 0), ("rows", 3)])
def test_rows_leave_a_site_only_where_the_study_says_so(pooling: str, rows: int) -> None:
    federation = enrolled(pooling)
    decision = DECIDE[federation.study.fusion.pooling](federation, FITTED)
    bundle = final_bundle(federation.study, decision, FITTED, {}, {})
    kinds = [kind for _, kind in federation.hospitals.asked]
    assert kinds.count("query.rows") == rows
    assert set(kinds) <= {"query.sum", "query.rows"}
    assert {row["model"] for row in rows_of(decision)["performance"]} == set(bundle.models)
    assert set(bundle.models) == set(bundle.cutoffs) == {*MODELS, "fusion_decision"}
    assert decision.stacker is not None
    assert len(decision.edges) == 4


def test_it_takes_one_round_a_level_and_four_more() -> None:
    federation = enrolled()
    decide_by_bins(federation, FITTED)
    assert federation.hospitals.asked.count(("b", "query.sum")) <= 8


def test_it_tells_as_much_as_the_stacker_on_pooled_rows() -> None:
    by_bins = decide_by_bins(enrolled(), FITTED)
    by_rows = decide_by_rows(enrolled("rows"), FITTED)
    found, expected = areas(by_bins), areas(by_rows)
    for name in MODELS:
        assert found[name] == pytest.approx(expected[name], abs=0.003)
        assert by_bins.cutoffs[name] == pytest.approx(by_rows.cutoffs[name], abs=0.02)
    assert found["fusion_decision"] == pytest.approx(expected["fusion_decision"], abs=0.03)
    assert on_new_patients(by_bins) == pytest.approx(on_new_patients(by_rows), abs=0.015)
    assert on_new_patients(by_bins) > max(found[name] for name in MODELS)


def test_the_training_rows_are_those_of_the_other_mode() -> None:
    by_bins = rows_of(decide_by_bins(enrolled(), FITTED))
    by_rows = rows_of(decide_by_rows(enrolled("rows"), FITTED))
    for kind in ("performance", "delong", "roc", "calibration", "decision_curve"):
        found, expected = by_bins[kind], by_rows[kind]
        keys = ("set", "model", "model_a", "model_b")
        assert [[row.get(key) for key in keys] for row in found] == [
            [row.get(key) for key in keys] for row in expected
        ]
    for found, expected in zip(by_bins["calibration"][:3], by_rows["calibration"][:3], strict=True):
        assert found["brier"] == pytest.approx(expected["brier"], abs=1e-5)


def test_the_stacker_of_one_site_with_all_rows_is_the_same() -> None:
    federated = decide_by_bins(enrolled(), FITTED)
    pooled = decide_by_bins(enrolled(sites="a"), FITTED)
    one, other = (d.models["fusion_decision"].transforms[-1] for d in (federated, pooled))
    assert isinstance(one, Forest)
    for part in ("feature", "threshold", "value"):
        np.testing.assert_array_equal(getattr(one, part), getattr(other, part))
    assert federated.cutoffs == pooled.cutoffs
    assert areas(federated) == pytest.approx(areas(pooled), abs=0.003)


def test_its_own_rows_never_train_an_out_of_fold_probability() -> None:
    """Labels that nothing tells of must not leave out of fold."""
    _, label = probabilities(300, 0)
    federation = enrolled(label=np.random.default_rng(3).permutation(label))
    assert areas(decide_by_bins(federation, FITTED))["fusion_decision"] < 0.62


@pytest.mark.parametrize("pooling", ["rows", "bins"])
def test_the_forest_never_says_less_where_a_base_model_says_more(pooling: str) -> None:
    federation = enrolled(pooling)
    decision = DECIDE[pooling](federation, FITTED)
    grid = np.linspace(0.01, 0.99, 40)
    for column in range(len(MODELS)):
        values = np.full((40, len(MODELS)), 0.4)
        values[:, column] = grid
        new = builders.Memory(tables(values, np.zeros(40)))
        said = materialise(decision.models["fusion_decision"], new, "t").values[:, 0]
        assert (np.diff(said) >= -1e-9).all()


def test_the_stacker_survives_in_the_bundle() -> None:
    federation = enrolled()
    decision = decide_by_bins(federation, FITTED)
    bundle = Bundle("d", decision.models, {}, decision.cutoffs, {}, "{}", {})
    files = bundle.to_files()
    assert not [name for name in files if name.endswith(".skops")]
    new = builders.Memory(tables(*probabilities(20, 4)))
    again = materialise(Bundle.from_files(files).models["fusion_decision"], new, "t")
    expected = materialise(decision.models["fusion_decision"], new, "t")
    np.testing.assert_array_equal(again.values, expected.values)


def test_a_study_without_a_stacker_still_gets_cutoffs_from_sums() -> None:
    federation = enrolled(fusion_models=())
    decision = decide_by_bins(federation, FITTED)
    assert decision.stacker is None
    assert tuple(decision.cutoffs) == MODELS
    assert federation.hospitals.asked.count(("a", "query.sum")) == 4
