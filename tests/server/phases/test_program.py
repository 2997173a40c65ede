"""A study as a program: it asks what it declares, and the same again from the same answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.app import app
from common.dossier.disclosure import Phase
from common.ledger.entry import request_digest
from common.masking.layout import sizes
from common.messages.exchanges import EvaluateReply, SumItem
from common.messages.plain import from_tree, to_tree
from common.models import BASE_MODELS
from common.statistics.base import describe
from common.statistics.gram import FoldGram
from common.statistics.moments import Means, Missingness
from common.study.model import Study, load_study
from common.transforms import Select
from common.transforms.views import table
from server.federation.federation import Federation
from server.phases import protocol
from server.phases.batching import distinct
from server.phases.clinical import fit_clinical
from server.phases.fusion import fit_feature_fusion
from server.phases.program import declared_phases, phase_names, run_program
from server.phases.radiomics import fit_radiomics
from sim.engines.inprocess import InProcessGrid
from sim.sites import place_sites
from tests import builders

BINS = {"fusion": {"pooling": "bins"}}
ROWS = {"svm": {"kernel": "rbf", "landmarks": 16, "max_rounds": 4}}


class Asking(protocol.Federation):
    """Notes every question by phase, and takes its answer from whoever has it."""

    def __init__(self, study: Study, members: Any, answer: Callable[..., Any]) -> None:
        self.study, self.members, self._answer = study, members, answer
        self.phase = ""
        self.asked: list[tuple[str, str, Any]] = []
        self.digests: list[str] = []

    def _ask(self, exchange: str, *asked: Any, **more: Any) -> Any:
        self.asked.append((self.phase, exchange, asked[0]))
        self.digests.append(request_digest(exchange, *asked, more))
        return self._answer(exchange, *asked, **more)

    def sum_many(self, items: Sequence[SumItem]) -> list[Any]:
        found: list[Any] = self._ask("sum_many", tuple(items))
        return found

    def rows(self, columns: Mapping[str, Any], fitting: Any) -> Any:
        return self._ask("rows", dict(columns), fitting)

    def evaluate(
        self, files: Mapping[str, Any], edges: Any, cuts: Mapping[str, float]
    ) -> dict[str, EvaluateReply]:
        found: dict[str, EvaluateReply] = self._ask("evaluate", dict(files), edges, dict(cuts))
        return found


class Through:
    """Steps whose results go through a checkpoint's form, as in a run that was resumed."""

    def __init__(self, federation: Asking) -> None:
        self.federation = federation

    def step(self, name: str, work: Callable[[], Any], *, phase: str = "") -> Any:
        self.federation.phase = phase or name
        return from_tree(*to_tree(work()))

    def training(self, *_: Any) -> Any:
        raise AssertionError("a study without networks trains none")

    def files(self, bundle: Any) -> Any:
        return bundle.to_files()


@pytest.fixture(params=[BINS, ROWS], ids=["bins", "rows"])
def enrolled(request: pytest.FixtureRequest, tabular: Path, tmp_path: Path) -> Federation:
    """The three tabular hospitals, with a column of each kind that Table 1 knows."""
    marker, _, *others = builders.TABULAR["clinical"]
    age = builders.number("age", unit="years", summary="median", decimals=0)
    builders.amend(
        tabular / "study.toml",
        strata=["sex", "age"],
        clinical=[marker, age, *others],
        privacy={"masking": "off"},
        **request.param,
    )
    folders = {name: tabular / name for name in ("a", "b", "c")}
    sites = place_sites(folders, tmp_path, tmp_path / "cache", exclude_bad_patients=False)
    study = load_study(tabular / "study.toml")
    federation = Federation(InProcessGrid(app, sites), study, "program")
    federation.enrol()
    return federation


class Straight(Through):
    """Steps whose results are handed on as they are, as in a run without an interruption."""

    def step(self, name: str, work: Callable[[], Any], *, phase: str = "") -> Any:
        self.federation.phase = phase or name
        return work()


def run(federation: Asking, steps: type[Through] = Through) -> None:
    run_program(federation, steps(federation), {})


def covered(item: SumItem, phase: Phase) -> bool:
    """Return whether a question is one of those that its phase declares, and no larger."""
    width = len(item.view.outputs())
    asked = (describe(item.statistic), item.subset)
    ring64, ring32 = sizes(item.statistic, width)
    return any(
        (one.what, one.subset) == asked
        and width <= one.columns
        and one.tables * (8 * ring64 + 4 * ring32) <= one.size
        for one in phase.asked
    )


def test_every_question_is_declared_by_its_phase_and_the_same_answers_lead_to_it_again(
    enrolled: Federation,
) -> None:
    answers: list[Any] = []

    def ask(exchange: str, *asked: Any, **more: Any) -> Any:
        answers.append(getattr(enrolled, exchange)(*asked, **more))
        return answers[-1]

    first = Asking(enrolled.study, enrolled.members, ask)
    run(first)
    phases = {phase.name: phase for phase in declared_phases(enrolled.study)}
    assert {phase for phase, _, _ in first.asked} == set(phases) - {"enrolment"}
    for name, exchange, asked in first.asked:
        for item in asked if exchange == "sum_many" else ():
            assert covered(item, phases[name]), (name, describe(item.statistic), item.subset)
    for name, rounds in Counter(name for name, _, _ in first.asked).items():
        assert rounds <= phases[name].rounds, name

    given = iter(answers)
    again = Asking(enrolled.study, enrolled.members, lambda *_, **__: next(given))
    run(again)
    assert again.digests == first.digests
    assert len(first.digests) > 15

    given = iter(answers)
    straight = Asking(enrolled.study, enrolled.members, lambda *_, **__: next(given))
    run(straight, Straight)
    assert straight.digests == first.digests


def test_a_question_of_another_phase_or_set_or_a_larger_one_is_not_covered(tabular: Path) -> None:
    study = load_study(tabular / "study.toml")
    phases = {phase.name: phase for phase in declared_phases(study)}
    view = table("clinical").then(Select(columns=study.clinical_columns))
    wider = table("clinical").then(Select(columns=("one", "more", *study.clinical_columns)))
    gram = FoldGram(folds=study.folds)
    assert covered(SumItem(gram, view, "train"), phases["clinical"])
    assert not covered(SumItem(gram, view, "train"), phases["table1"])
    assert not covered(SumItem(gram, view, "internal"), phases["clinical"])
    assert covered(SumItem(Means(), view, "train"), phases["clinical"])
    assert not covered(SumItem(Missingness(), wider, "train"), phases["clinical"])


def test_phases_are_declared_in_the_order_in_which_they_run(tabular: Path) -> None:
    study = load_study(tabular / "study.toml")
    whole = study.model_copy(
        update={"base_models": BASE_MODELS, "fusion_models": ("fusion_feature", "fusion_decision")}
    )
    for one in (study, whole):
        assert tuple(phase.name for phase in declared_phases(one)) == phase_names(one)
    assert phase_names(whole)[2:7] == ("clinical", "radiomics", "dl2d", "dl3d", "fusion_feature")


def test_a_resumed_fusion_asks_the_same_though_its_views_are_other_objects() -> None:
    rng = np.random.default_rng(1)
    label = (rng.random(200) < 0.4).astype(float)
    values = rng.normal(size=(200, 6)) + 0.6 * label[:, None]
    clinical = builders.split(values[:, :3], label)
    features = builders.split(values[:, 3:], label, table="radiomics", prefix="f")
    sites = {name: {**clinical[name], **features[name]} for name in clinical}
    models = {"base_models": ["clinical", "radiomics"], "fusion_models": ["fusion_feature"]}
    study = builders.open_study(3, **models)
    real = builders.federation(sites, study)
    fitted = {"clinical": fit_clinical(real), "radiomics": fit_radiomics(real)}
    digests = []
    for models in (fitted, from_tree(*to_tree(fitted))):
        asking = Asking(study, real.members, lambda _, items: real.sum_many(items))
        fit_feature_fusion(asking, models)
        digests.append(asking.digests)
        # without networks all outer problems share one table
        assert len(asking.asked[0][2]) == 1
    assert digests[0] == digests[1]


def test_views_are_told_apart_by_their_content() -> None:
    one, same, other = (table("clinical").then(Select(columns=(c,))) for c in ("x", "x", "y"))
    assert one is not same
    assert distinct([one, same, other, one])[1] == [0, 0, 1, 0]
    assert [view.outputs() for view in distinct([one, same, other])[0]] == [("x",), ("y",)]
