"""Decision fusion from bin counts, beside decision fusion on pooled rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message
from sklearn.metrics import roc_auc_score

from common.bundle.bundle import Bundle
from common.masking.layout import end_to_end, to_rings
from common.messages.codec import decode, encode
from common.messages.exchanges import (
    EnrolReply,
    EnrolRequest,
    RowsReply,
    RowsRequest,
    SumReply,
    SumRequest,
)
from common.statistics.base import Rows
from common.study.model import Study, parse_study
from common.transforms import Forest, Select
from common.transforms.views import Joined, View, materialise, table
from server.federation.federation import Federation
from server.phases.decision import Decision
from server.phases.fitted_model import FittedModel
from server.phases.fusion_bins import decide_by_bins
from server.phases.fusion_rows import decide_by_rows
from server.phases.program import DECIDE, final_bundle
from server.report.rows import evaluation_rows
from sim.engines.inprocess import SERVER_NODE, InProcessGrid, task_identity

STUDY = """
name = "s"
endpoint = "event"
base_models = ["clinical", "radiomics", "dl3d"]
fusion_models = ["fusion_decision"]
sites = [{ name = "a" }, { name = "b" }, { name = "c" }]
test_sets = [{ name = "t", split = "external_test", sites = ["c"] }]
clinical = [{ name = "x", kind = "continuous" }]
[fusion]
pooling = "POOLING"
trees = 40
candidates = ["forest"]
"""
MODELS = ("clinical", "radiomics", "dl3d")
SHARES = {"a": slice(0, 70), "b": slice(70, 190), "c": slice(190, 300)}
# the last model's probabilities crowd together, as a network's may
STRENGTHS, SPREADS = np.array([0.9, 1.3, 1.1]), np.array([1.0, 0.6, 0.05])


def probabilities(n: int, seed: int) -> tuple[Any, Any]:
    """Probabilities of the three base models, and labels."""
    random = np.random.default_rng(seed)
    label = (random.random(n) < 0.4).astype(float)
    decision = np.outer(label - 0.4, STRENGTHS) + random.normal(size=(n, 3))
    return 1 / (1 + np.exp(-SPREADS * decision)), label


class Tables:
    """A site's table of each base model: its out-of-fold probabilities, for all that is asked."""

    def __init__(self, values: Any, label: Any) -> None:
        self.values, self.label, self.fold = values, label, np.arange(len(label)) % 5

    def read(self, name: str, subset: str) -> Rows:
        values = self.values[:, [MODELS.index(name)]]
        return Rows(values=values, columns=(name,), label=self.label, fold=self.fold)

    def part(self, own: slice) -> Tables:
        part = Tables(self.values[own], self.label[own])
        part.fold = self.fold[own]
        return part


class Hospitals:
    """Stands in for the ClientApp, and keeps what it was asked."""

    def __init__(self, study: Study, tables: dict[str, Tables]) -> None:
        self.study, self.tables = study, tables
        self.asked: list[tuple[str, str]] = []

    def __call__(self, message: Message, context: Context) -> Message:
        site = Path(str(context.node_config["site-config"])).name
        self.asked.append((site, message.metadata.message_type))
        reply = self.answer(self.tables[site], site, decode(message.content))
        return Message(encode(reply), reply_to=message)

    def answer(self, tables: Tables, site: str, request: Any) -> Any:
        if isinstance(request, EnrolRequest):
            counts = {"train": (len(tables.label), int(tables.label.sum()))}
            return EnrolReply(site, self.study.digest(), {}, counts, {"clinical": ("x",)}, (), 0)
        if isinstance(request, RowsRequest):
            view = View(source=Joined(parts=tuple(request.columns.values())))
            rows = materialise(view, tables, "train")
            return RowsReply(site, **request.echo, probabilities=rows.values, labels=rows.label)
        assert isinstance(request, SumRequest)
        parts = []
        for item in request.items:
            rows = materialise(item.view, tables, item.subset)
            sums = item.statistic.from_rows(rows)
            parts.append(to_rings(item.statistic, sums, rows.p, 3))
        rings = end_to_end(parts)
        return SumReply(site, **request.echo, wide=rings.wide, narrow=rings.narrow)


@pytest.fixture(autouse=True)
def server_identity() -> Iterator[None]:
    with task_identity(SERVER_NODE):
        yield


Enrolled = Callable[..., tuple[Federation, Hospitals]]


@pytest.fixture
def enrolled() -> Enrolled:
    def make(text: str = STUDY, pooling: str = "bins") -> tuple[Federation, Hospitals]:
        study = parse_study(text.replace("POOLING", pooling))
        everyone = Tables(*probabilities(300, 0))
        sites = {
            name: everyone if len(study.sites) == 1 else everyone.part(SHARES[name])
            for name in study.site_names
        }
        hospitals = Hospitals(study, sites)
        paths = {name: Path(name) for name in study.site_names}
        federation = Federation(InProcessGrid(hospitals, paths), study, "r")  # type: ignore[arg-type]
        federation.enrol()
        return federation, hospitals

    return make


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
ALONE = STUDY.replace(', { name = "b" }, { name = "c" }', "").replace('["c"]', '["a"]')


def rows_of(decision: Decision) -> dict[str, list[dict[str, Any]]]:
    return evaluation_rows(decision.training, 3)


def areas(decision: Decision) -> dict[str, float]:
    return {row["model"]: row["auc"] for row in rows_of(decision)["performance"]}


def on_new_patients(decision: Decision) -> float:
    values, label = probabilities(3000, 1)
    rows = materialise(decision.models["fusion_decision"], Tables(values, label), "t")
    return float(roc_auc_score(label, rows.values[:, 0]))


@pytest.mark.parametrize(("pooling", "rows"), [("bins", 0), ("rows", 3)])
def test_rows_leave_a_site_only_where_the_study_says_so(
    enrolled: Enrolled, pooling: str, rows: int
) -> None:
    federation, hospitals = enrolled(pooling=pooling)
    decision = DECIDE[federation.study.fusion.pooling](federation, FITTED)
    bundle = final_bundle(federation.study, decision, FITTED, {}, {})
    kinds = [kind for _, kind in hospitals.asked]
    assert kinds.count("query.rows") == rows
    assert set(kinds) <= {"query.enrol", "query.sum", "query.rows"}
    assert {row["model"] for row in rows_of(decision)["performance"]} == set(bundle.models)
    assert set(bundle.models) == set(bundle.cutoffs) == {*MODELS, "fusion_decision"}
    assert decision.stacker is not None
    assert len(decision.edges) == 4


def test_it_takes_one_round_a_level_and_four_more(enrolled: Enrolled) -> None:
    federation, hospitals = enrolled()
    decide_by_bins(federation, FITTED)
    assert hospitals.asked.count(("b", "query.sum")) <= 8


def test_it_tells_as_much_as_the_stacker_on_pooled_rows(enrolled: Enrolled) -> None:
    by_bins = decide_by_bins(enrolled()[0], FITTED)
    by_rows = decide_by_rows(enrolled(pooling="rows")[0], FITTED)
    found, expected = areas(by_bins), areas(by_rows)
    for name in MODELS:
        assert found[name] == pytest.approx(expected[name], abs=0.003)
        assert by_bins.cutoffs[name] == pytest.approx(by_rows.cutoffs[name], abs=0.02)
    assert found["fusion_decision"] == pytest.approx(expected["fusion_decision"], abs=0.03)
    assert on_new_patients(by_bins) == pytest.approx(on_new_patients(by_rows), abs=0.015)
    assert on_new_patients(by_bins) > max(found[name] for name in MODELS)


def test_the_training_rows_are_those_of_the_other_mode(enrolled: Enrolled) -> None:
    by_bins = rows_of(decide_by_bins(enrolled()[0], FITTED))
    by_rows = rows_of(decide_by_rows(enrolled(pooling="rows")[0], FITTED))
    for kind in ("performance", "delong", "roc", "calibration", "decision_curve"):
        found, expected = by_bins[kind], by_rows[kind]
        keys = ("set", "model", "model_a", "model_b")
        assert [[row.get(key) for key in keys] for row in found] == [
            [row.get(key) for key in keys] for row in expected
        ]
    for found, expected in zip(by_bins["calibration"][:3], by_rows["calibration"][:3], strict=True):
        assert found["brier"] == pytest.approx(expected["brier"], abs=1e-12)


def test_the_stacker_of_one_site_with_all_rows_is_the_same(enrolled: Enrolled) -> None:
    federated = decide_by_bins(enrolled()[0], FITTED)
    pooled = decide_by_bins(enrolled(ALONE)[0], FITTED)
    one, other = (d.models["fusion_decision"].transforms[-1] for d in (federated, pooled))
    assert isinstance(one, Forest)
    for part in ("feature", "threshold", "value"):
        np.testing.assert_array_equal(getattr(one, part), getattr(other, part))
    assert federated.cutoffs == pooled.cutoffs
    assert areas(federated) == pytest.approx(areas(pooled), abs=0.003)


def test_its_own_rows_never_train_an_out_of_fold_probability(enrolled: Enrolled) -> None:
    """Labels that nothing tells of must not leave out of fold."""
    federation, hospitals = enrolled()
    shuffled = np.random.default_rng(3)
    for tables in hospitals.tables.values():
        tables.label = shuffled.permutation(tables.label)
    assert areas(decide_by_bins(federation, FITTED))["fusion_decision"] < 0.62


def test_the_stacker_survives_in_the_bundle(enrolled: Enrolled) -> None:
    federation, _ = enrolled()
    decision = decide_by_bins(federation, FITTED)
    bundle = Bundle("d", decision.models, {}, decision.cutoffs, {}, "{}", {})
    files = bundle.to_files()
    assert not [name for name in files if name.endswith(".skops")]
    tables = Tables(*probabilities(20, 4))
    again = materialise(Bundle.from_files(files).models["fusion_decision"], tables, "t")
    expected = materialise(decision.models["fusion_decision"], tables, "t")
    np.testing.assert_array_equal(again.values, expected.values)


def test_a_study_without_a_stacker_still_gets_cutoffs_from_sums(enrolled: Enrolled) -> None:
    federation, hospitals = enrolled(STUDY.replace('["fusion_decision"]', "[]"))
    decision = decide_by_bins(federation, FITTED)
    assert decision.stacker is None
    assert tuple(decision.cutoffs) == MODELS
    assert hospitals.asked.count(("a", "query.sum")) == 4
