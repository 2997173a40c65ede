"""Attack (k): what is limited in one run is asked again under the name of another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client import handlers
from common.bundle.bundle import Bundle, sign_files
from common.errors import RefusedError
from common.messages.exchanges import EvaluateReply, EvaluateRequest, SumItem
from common.statistics.svm import SvmGradient
from common.transforms import Clip, Impute, Select, Sigmoid
from common.transforms.views import Joined, View, table
from server.federation.federation import Federation
from sim.sites import COORDINATOR, simulated_identity

pytestmark = pytest.mark.usefixtures("server_identity")
Evaluate = Callable[..., EvaluateReply]


def measures(coordinator: Any, tabular: Path, **study: Any) -> Evaluate:
    """Return what asks for site c's measures of its own test set, cut at an age, in a run."""
    rehearsal = coordinator.rehearse(tabular, strata=["age"], **study)
    rehearsal.federation().enrol()
    marker = Select(columns=("marker",)), Impute(columns=("marker",), fill=np.zeros(1))
    view = table("clinical").then(*marker, Sigmoid(a=-1.0, b=0.0))
    digest = rehearsal.study.digest()
    bundle = Bundle(
        study=digest,
        models={"clinical": view},
        networks={},
        cutoffs={"clinical": 0.5},
        software={},
        settings=rehearsal.study.canonical(),
        training={},
    )
    files = sign_files(bundle.to_files(), simulated_identity(COORDINATOR))
    edges = np.array([[0.0, 0.5, 1.0]])

    def ask(run: str, age: float) -> EvaluateReply:
        federation: Federation = rehearsal.federation(run)
        federation.enrol()
        request = EvaluateRequest(run, digest, files, ("external_1",), edges, {"age": age})
        ((_, reply),) = federation._ask("evaluate.handout", {"c": request}, 5.0)
        assert isinstance(reply, EvaluateReply)
        return reply

    return ask


@pytest.fixture
def evaluate(coordinator: Any, tabular: Path) -> Evaluate:
    return measures(coordinator, tabular)


def test_a_column_cut_elsewhere_in_another_study_shows_no_levels_where_few_change(
    coordinator: Any, tabular: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counts(name: str, age: float) -> Any:
        found = measures(coordinator, tabular, name=name)(name, age)
        return found.strata["external_1"]["age"].counts

    first = counts("first", 58.0)
    assert first.sum() > 0
    assert counts("near", 59.0).sum() == 0
    monkeypatch.setattr(handlers, "moved_levels", lambda *_: frozenset())
    between = (counts("unwatched", 59.0) - first)[0]
    assert 0 < between.sum() < 3  # of this age, with and without the endpoint


def test_a_column_cut_elsewhere_under_another_runs_name_is_refused(evaluate: Evaluate) -> None:
    first = evaluate("first", 58.0).strata["external_1"]["age"].counts
    for run in ("first", "second", "third"):
        again = evaluate(run, 59.0)
        assert [refusal.rule for refusal in again.withheld] == ["levels"]
        assert not again.strata
    assert np.array_equal(evaluate("fourth", 58.0).strata["external_1"]["age"].counts, first)


CLIPPED = table("clinical").then(Select(columns=("marker",)), Clip(limit=3.0))
MARKER = Select(columns=("marker",))
DISGUISES: dict[str, Callable[[int], tuple[str, Any]]] = {
    "another run": lambda part: (f"run{part}", CLIPPED),
    "a step that changes nothing": lambda part: ("r", CLIPPED.then(*(MARKER,) * part)),
    "a table joined on": lambda part: ("r", joined(part)),
}


def joined(part: int) -> View:
    """The same column, and a part of another table that the next step leaves out."""
    other = table("coded").then(Select(columns=("age",)))
    both = View(source=Joined(parts=(table("clinical").then(MARKER), *(other,) * part)))
    return both.then(MARKER, Clip(limit=3.0)) if part else CLIPPED


@pytest.mark.parametrize("name", DISGUISES)
def test_gradients_are_not_begun_anew_for_what_is_the_same_to_the_patients(
    coordinator: Any, tabular: Path, name: str
) -> None:
    rehearsal = coordinator.rehearse(tabular, privacy={"max_svm_rounds": 4}, svm={"max_rounds": 4})
    answered = 0
    with pytest.raises(RefusedError, match="rule svm_rounds, threshold 4"):
        for question in range(12):
            run, view = DISGUISES[name](question // 3)
            federation = rehearsal.federation(run)
            federation.enrol()
            weights = np.array([[0.01 * question, 0.0]])
            asked = SvmGradient(weights, np.zeros((1, 5)), np.array([-1]))
            federation.sum_many([SumItem(asked, view, "train")])
            answered += 1
    assert answered == 4
