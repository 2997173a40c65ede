"""Attack (l): questions that are made up so that their answers tell of single patients."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message

from client.store.ledger import ledger_path
from client.workspace import open_workspace
from common.bundle.bundle import Bundle, sign_files
from common.errors import RefusedError
from common.evaluation.linkage import cell_edges
from common.ledger.entry import Entry
from common.ledger.verify import read_entries
from common.messages.codec import decode, encode
from common.messages.exchanges import (
    EvaluateReply,
    EvaluateRequest,
    Problem,
    Refused,
    RowsReply,
    RowsRequest,
    SumItem,
    SumReply,
    SumRequest,
)
from common.statistics.histogram import Histogram
from common.statistics.moments import Means
from common.statistics.svm import SvmGradient
from common.statistics.table1 import GroupSums, JoinedHistogram
from common.transforms import Clip, Impute, InLevel, Select, Standardise
from common.transforms.views import Joined, View, table
from sim.sites import COORDINATOR, simulated_identity
from tests.fixtures.models import clinical_probability, out_of_fold

pytestmark = pytest.mark.usefixtures("server_identity")
MARKER = ("marker",)
RAW = table("clinical").then(Select(columns=MARKER))
NUMBERS = tuple(range(1000))


@dataclasses.dataclass(frozen=True)
class Aimed:
    """One site, and a coordinator that asks it alone."""

    rehearsal: Any
    federation: Any
    numbers: Iterator[int]

    def ask(self, kind: str, site: str, request: Any) -> Any:
        grid = self.federation.grid
        message = Message(
            encode(request), dst_node_id=self.federation.nodes[site], message_type=kind
        )
        (reply,) = grid.pull_messages(list(grid.push_messages([message])))
        return decode(reply.content)

    def sums(self, site: str, *items: SumItem) -> Any:
        request = SumRequest(
            run="r",
            study=self.rehearsal.study.digest(),
            session="s",
            number=next(self.numbers),
            items=items,
            keys=self.federation._keys(),
        )
        return self.ask("query.sum", site, request)

    def rows(self, **columns: View) -> Any:
        study = self.rehearsal.study.digest()
        counts = {site: self.federation.members[site].counts["train"][0] for site in "abc"}
        edges = np.tile(cell_edges(2), (len(columns), 1))
        joined = View(source=Joined(parts=tuple(columns.values())))
        try:
            fitting = self.federation.sum(Histogram(edges=edges), joined).counts
        except RefusedError:
            fitting = np.zeros((len(columns), 101))
        keys = self.federation._keys()
        request = RowsRequest("r", study, columns, fitting, counts, keys)
        return self.ask("query.rows", "a", request)

    def handout(self, site: str, subset: str, models: dict[str, View], edge: float = 0.5) -> Any:
        study = self.rehearsal.study
        bundle = Bundle(
            study=study.digest(),
            models=models,
            networks={},
            cutoffs=dict.fromkeys(models, 0.5),
            software={},
            settings=study.canonical(),
            training={},
        )
        request = EvaluateRequest(
            run="r",
            study=study.digest(),
            bundle=sign_files(bundle.to_files(), simulated_identity(COORDINATOR)),
            test_sets=(subset,),
            edges=np.tile([0.0, edge, 1.0], (len(models), 1)),
        )
        return self.ask("evaluate.handout", site, request)

    def entries(self, site: str) -> tuple[Entry, ...]:
        settings = open_workspace(
            self.rehearsal.sites[site], self.rehearsal.study.digest(), "r"
        ).settings
        return read_entries(ledger_path(settings.work))


@pytest.fixture
def aimed(coordinator: Any, tabular: Path) -> Aimed:
    rehearsal = coordinator.rehearse(tabular)
    federation = rehearsal.federation()
    federation.enrol()
    return Aimed(rehearsal, federation, iter(NUMBERS))


def window(low: float, width: float) -> View:
    """The table itself, moved into what looks like a probability."""
    step = Standardise(columns=MARKER, mean=np.array([low]), scale=np.array([width]))
    return RAW.then(Impute(columns=MARKER, fill=np.zeros(1)), step, Clip(limit=3.0))


def rule(reply: Any) -> str:
    """The rule that refused."""
    assert isinstance(reply, Refused), reply
    return reply.refusals[0].rule


def test_no_column_of_a_table_leaves_as_out_of_fold_rows(aimed: Aimed) -> None:
    assert rule(aimed.rows(clinical=window(-8.0, 16.0))) == "form"
    assert rule(aimed.rows(marker=out_of_fold(aimed.rehearsal.study, MARKER))) == "form"


def test_no_sum_is_over_a_table_made_up(aimed: Aimed) -> None:
    twice = RAW.then(Clip(limit=3.0), Clip(limit=3.0))
    assert rule(aimed.sums("a", SumItem(Means(), twice, "train"))) == "form"


def test_rows_are_given_once_and_of_the_same_models_again(aimed: Aimed) -> None:
    first, other = (out_of_fold(aimed.rehearsal.study, MARKER, fill) for fill in (0.0, 1.0))
    given = aimed.rows(clinical=first)
    assert isinstance(given, RowsReply)
    assert rule(aimed.rows(clinical=other)) == "rows_once"
    again = aimed.rows(clinical=first)
    assert np.array_equal(again.ring32, given.ring32)


def test_models_that_are_thresholds_are_not_scored(aimed: Aimed) -> None:
    thresholds = {f"t{k}": window(k / 10, 1e-9) for k in range(30)}
    assert rule(aimed.handout("b", "internal", thresholds)) == "form"
    assert rule(aimed.handout("b", "internal", {"clinical": window(0.0, 1e-9)})) == "form"


def test_measures_of_a_set_are_not_given_again_and_again_with_other_edges(aimed: Aimed) -> None:
    study = aimed.rehearsal.study
    models = {"clinical": clinical_probability(study, MARKER)}
    edges = np.linspace(0.3, 0.7, study.privacy.max_releases + 1)
    replies = [aimed.handout("c", "external_1", models, edge) for edge in edges]
    assert all(isinstance(reply, EvaluateReply) for reply in replies[:-1])
    assert rule(replies[-1]) == "releases"


def test_no_rows_are_left_out_by_a_step_within_a_step(aimed: Aimed) -> None:
    inner = InLevel(column="sex=male", level=1, columns=MARKER)
    chain, _ = Impute(columns=MARKER, fill=np.zeros(1)).restrict(MARKER)
    hidden = table("clinical").then(
        dataclasses.replace(chain, steps=(inner, Select(columns=MARKER)))
    )
    assert rule(aimed.sums("a", SumItem(Means(), hidden, "train"))) == "levels"
    assert rule(aimed.sums("a", SumItem(Means(), hidden, "internal"))) == "levels"


def test_a_set_held_alone_is_summed_as_it_is_and_in_few_ways(aimed: Aimed) -> None:
    sums = GroupSums(centre=np.zeros(1), minimum=10)
    assert rule(aimed.sums("c", SumItem(sums, window(0.0, 1e-9), "external_1"))) == "form"
    own = table("coded").then(Select(columns=MARKER))
    moved = [
        SumItem(JoinedHistogram(np.array([[-np.inf, edge, np.inf]]), minimum=3), own, "external_1")
        for edge in np.linspace(-1, 2, aimed.rehearsal.study.privacy.max_releases + 1)
    ]
    assert rule(aimed.sums("c", *moved)) == "releases"
    assert isinstance(aimed.sums("c", *moved[:-1]), SumReply)
    assert rule(aimed.sums("c", moved[-1])) == "releases"


def too_large(which: int) -> SumItem:
    """A gradient that no ring holds; the last number makes each another question."""
    gradient = SvmGradient(
        weights=np.array([[1e200, float(which)]]),
        excluded=np.zeros((1, 5)),
        validation=np.array([-1]),
    )
    filled = RAW.then(Impute(columns=MARKER, fill=np.zeros(1)), Clip(limit=3.0))
    return SumItem(gradient, filled, "train")


def test_failures_are_in_the_ledger_and_a_site_falls_silent_after_many(aimed: Aimed) -> None:
    study = aimed.rehearsal.study
    fine = SumItem(Means(), RAW, "train")
    assert isinstance(aimed.sums("a", fine), SumReply)
    before = len(aimed.entries("a"))
    most = study.privacy.max_refusals
    for which in range(most):
        assert isinstance(aimed.sums("a", too_large(which)), Problem)
    entries = aimed.entries("a")[before:]
    assert [(entry.decision, entry.reason) for entry in entries] == [("stopped", "problem")] * most
    assert all(entry.items[0].request for entry in entries)
    assert rule(aimed.sums("a", fine)) == "refusals"
    assert isinstance(aimed.sums("b", fine), SumReply)


def test_a_fault_of_the_machine_is_in_the_ledger_and_silences_nobody(
    aimed: Aimed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        raise OSError("no space left on device")

    monkeypatch.setattr("client.handlers.to_rings", full)
    most = aimed.rehearsal.study.privacy.max_refusals
    for which in range(most + 1):
        view = RAW.then(Impute(columns=MARKER, fill=np.array([float(which)])))
        assert isinstance(aimed.sums("a", SumItem(Means(), view, "train")), Problem)
    assert aimed.entries("a")[-1].reason == "fault"
    monkeypatch.undo()
    assert isinstance(aimed.sums("a", SumItem(Means(), RAW, "train")), SumReply)


def test_the_same_question_refused_again_and_again_silences_nobody(aimed: Aimed) -> None:
    for _ in range(aimed.rehearsal.study.privacy.max_refusals + 1):
        assert isinstance(aimed.sums("a", too_large(0)), Problem)
    assert isinstance(aimed.sums("a", SumItem(Means(), RAW, "train")), SumReply)


def test_one_answer_names_no_rule_twice(aimed: Aimed) -> None:
    views = [table("clinical").then(Select(columns=(name,))) for name in ("marker", "age")]
    items = [SumItem(too_large(0).statistic, view, "train") for view in views]
    reply = aimed.sums("a", *items)
    assert isinstance(reply, Refused)
    rules = [one.rule for one in reply.refusals]
    assert len(rules) == len(set(rules))
