"""Attack (m): a question whose refusal tells a value, by the column that it names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from flwr.app import Message
from hypothesis import given, settings
from hypothesis import strategies as st

import client.gate.inspect
from common.disclosure.pooled_rows import check_out_of_fold_rows
from common.disclosure.rule import RULES, Refusals, SumQuery, refusal
from common.disclosure.scores import check_test_set
from common.disclosure.sums import check_sum
from common.disclosure.training import check_fold_classes, check_training_sum
from common.messages.codec import decode, encode, header_of
from common.messages.exchanges import Problem, Refusal, Refused, SumItem, SumRequest
from common.messages.problems import PROBLEMS
from common.statistics.base import Rows
from common.statistics.fold_histogram import Support
from common.statistics.gram import CrossProducts
from common.statistics.table1 import GroupSums
from common.transforms import Clip, Impute, Select, Standardise
from common.transforms.views import View, table
from tests import builders

pytestmark = pytest.mark.usefixtures("server_identity")
CUTS = np.linspace(4.0, -4.0, 161)
"""Falling: the first cut that a patient reaches is the largest value, to 0.05."""
SCALE, FOLD = 100.0, 0


@dataclass(frozen=True)
class Asking:
    """A coordinator that asks hospital a alone, and the hospital's own patients."""

    rehearsal: Any
    federation: Any
    numbers: Iterator[int]
    heard: list[str]

    @property
    def largest(self) -> float:
        """The largest marker of the patients in the fold, which nobody else should know."""
        rows = self.rehearsal.workspace("a").tables.read("clinical", "train")
        marker = rows.values[:, rows.columns.index("marker")]
        return float(np.nanmax(marker[rows.fold == FOLD]))

    def ask(self, cuts: Any = CUTS) -> Any:
        """One marker in many columns, each with another cut that nobody in the fold may reach."""
        study = self.rehearsal.study
        request = SumRequest(
            run="r",
            study=study.digest(),
            session="s",
            number=next(self.numbers),
            items=(SumItem(statistic(cuts, study.folds), columns(len(cuts)), "train"),),
            keys=self.federation._keys(),
        )
        grid = self.federation.grid
        node = self.federation.nodes["a"]
        message = Message(encode(request), dst_node_id=node, message_type="query.sum")
        (reply,) = grid.pull_messages(list(grid.push_messages([message])))
        self.heard.append(header_of(reply.content))
        return decode(reply.content)


def columns(count: int) -> View:
    names = ("marker",) * count
    step = Standardise(columns=names, mean=np.zeros(count), scale=np.full(count, SCALE))
    filled = Impute(columns=names, fill=np.zeros(count))
    return table("clinical").then(Select(columns=names), filled, step, Clip(limit=3.0))


def statistic(cuts: Any, folds: int) -> CrossProducts:
    apart = np.full((folds, len(cuts)), 1000.0)
    apart[FOLD] = 0.0
    low = np.full(len(cuts), -np.inf)
    support = Support(low=low, high=np.asarray(cuts) / SCALE, apart=apart)
    return CrossProducts(mean=np.zeros(len(cuts)), support=support)


def naming(query: SumQuery) -> str:
    """The rule `support` as it would be if it named the first column that breaks it."""
    own = query.statistic.support.of(query.rows, query.study.folds)
    broken = np.flatnonzero((own > query.statistic.support.apart + 0.5).any(axis=0))
    return f"column {broken[0]}" if broken.size else ""


def in_place_of_patients(rule: str, privacy: Any, subset: str, why: str = "") -> Refusal:
    """A refusal that names what the check named, in place of the set of patients."""
    return refusal(rule, privacy, why if why.startswith("column ") else subset)


@pytest.fixture
def asking(coordinator: Any, tabular: Any) -> Asking:
    rehearsal = coordinator.rehearse(tabular)
    federation = rehearsal.federation()
    federation.enrol()
    return Asking(rehearsal, federation, iter(range(1000)), [])


@pytest.fixture
def names_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "support", replace(RULES["support"], check=naming))
    monkeypatch.setattr("common.disclosure.sums.refusal", in_place_of_patients)


@pytest.mark.usefixtures("names_columns")
def test_with_names_and_without_the_gates_lines_one_refusal_tells_a_patients_value(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.gate.inspect, "are_refusals", lambda *_: True)
    monkeypatch.setattr(client.gate.inspect, "expect_form", lambda *_: None)
    reply = asking.ask()
    assert isinstance(reply, Refused)
    (named,) = (one.subset for one in reply.refusals if one.rule == "support")
    found = float(CUTS[int(named.removeprefix("column "))])
    assert found <= asking.largest < found + 0.05 + 1e-9


@pytest.mark.usefixtures("names_columns")
def test_the_gate_stops_a_rule_that_names_a_column(asking: Asking) -> None:
    reply = asking.ask()
    assert isinstance(reply, Problem)
    assert reply.kind == "text"


def test_the_refusal_is_the_same_to_the_byte_whatever_column_breaks_the_rule(
    asking: Asking,
) -> None:
    for cuts in (CUTS, CUTS[::-1], np.roll(CUTS, 40), np.append(np.full(160, 4.0), -4.0)):
        reply = asking.ask(cuts)
        assert isinstance(reply, Refused)
        assert [(one.rule, one.subset) for one in reply.refusals] == [("support", "train")]
    assert len(set(asking.heard)) == 1


# -- every rule alone ------------------------------------------------------------------------------


def bytes_of(refusals: Refusals) -> str:
    return header_of(encode(Refused(refusals=refusals, site="a")))


def patients(n: int, columns: int, seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    return Rows(
        values=rng.normal(size=(n, columns)),
        columns=tuple(f"x{i}" for i in range(columns)),
        label=(np.arange(n) % 2).astype(np.float64),
        fold=np.arange(n) % 5,
    )


@given(column=st.integers(0, 5), few=st.integers(1, 9), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_means_of_a_column_with_few_values(column: int, few: int, seed: int) -> None:
    study = builders.study(tests={"alone": ("internal_test", "a")})
    rows = patients(40, 6, seed)
    values = rows.values.copy()
    values[few:, column] = np.nan
    view = table("coded").then(Select(columns=rows.columns))
    sums = GroupSums(centre=np.zeros(6), minimum=0)
    found = check_sum(sums, replace(rows, values=values), "alone", study, study.privacy, view)
    assert bytes_of(found) == bytes_of((refusal("rows", study.privacy, "alone"),))


@given(
    position=st.lists(st.integers(0, 160), min_size=1, max_size=161, unique=True),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_columns_that_break_the_support(position: list[int], seed: int) -> None:
    study = builders.study()
    cuts = np.full(161, 300.0)
    cuts[position] = -300.0
    rows = patients(60, 1, seed)
    values = np.repeat(rows.values / SCALE, 161, axis=1)
    rows = replace(rows, values=values, columns=rows.columns * 161)
    asked = statistic(cuts, study.folds)
    found = check_sum(asked, rows, "train", study, study.privacy, columns(161))
    assert bytes_of(found) == bytes_of((refusal("support", study.privacy, "train"),))


@given(
    n=st.integers(0, 9), positives=st.integers(0, 4), patient=st.integers(0, 8), seed=st.integers()
)
@settings(max_examples=60, deadline=None)
def test_patients_that_break_rules_about_rows(
    n: int, positives: int, patient: int, seed: int
) -> None:
    study = builders.study()
    privacy = study.privacy
    label = np.zeros(n)
    label[np.random.default_rng(abs(seed)).permutation(n)[:positives]] = 1.0
    rows = replace(patients(n, 1, 0), label=label)
    for check in (
        lambda own: check_test_set(own, "t", privacy),
        lambda own: check_training_sum(own, study.folds, privacy),
        lambda own: check_fold_classes(own, study.folds, privacy),
        lambda own: check_out_of_fold_rows(own, privacy),
    ):
        turned = np.roll(np.arange(n), patient)
        other = replace(rows, label=rows.label[turned], fold=rows.fold[turned])
        assert bytes_of(check(rows)) == bytes_of(check(other))


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError, KeyError, ZeroDivisionError, np.linalg.LinAlgError])
def test_an_error_is_the_same_whatever_class_a_value_gives_it(
    asking: Asking, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fails(*_: Any) -> Any:
        raise error("Muster")

    monkeypatch.setattr("client.handlers.check_sum", fails)
    reply = asking.ask()
    assert isinstance(reply, Problem)
    assert reply.kind == "software"
    assert reply.kind in PROBLEMS
