"""Attack (o): further ways round what every site derives, found on the finished protocol."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from skops.io import dumps

from client.data.cohort import assign_folds, read_cohort
from client.data.tables import SiteTables
from client.gate.schema import StoppedError
from client.gate.site_gate import SiteGate
from client.gate.verifier import Verifier, verifier_of
from client.site import load_site
from common.bundle.bundle import Bundle, sign_files
from common.errors import SiteError, StudyError
from common.evaluation import local
from common.masking.layout import RingSums, from_rings, sizes
from common.messages.codec import encode
from common.messages.exchanges import (
    Agreed,
    EvaluateRequest,
    KeyRequest,
    SumReply,
    SumRequest,
    Totals,
)
from common.statistics.scores import THRESHOLDS, DecisionCounts
from common.study.model import load_study
from common.transforms.stack import Stack
from common.transforms.views import ByFold, Joined
from server.federation.federation import Federation
from server.phases import fusion_rows
from server.phases.decision import STACKER
from server.phases.table1 import table1
from sim.equality.sites import GivenFeatures
from sim.sites import COORDINATOR, simulated_identity

FEATURES = tuple(f"original_firstorder_{name}" for name in ("Mean", "Median", "Range", "Energy"))
COLUMNS = ((0, 10), (1, 9))
EVERYBODY = ("a", "b", "c")
pytestmark = pytest.mark.usefixtures("server_identity")


# -- three hospitals whose features are numbers, so that there are two models to stack ---------


class Features(GivenFeatures):
    """Features of nobody's images."""

    def files_of(self, patient: Any) -> dict[str, str]:
        """Return no files."""
        return {}


@pytest.fixture
def stacking(tabular: Path, coordinator: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A study with a decision-level fusion of two models, every site verifying."""
    plain = load_study(tabular / "study.toml")

    def patients(settings: Any, study: Any, *_: Any, **__: Any) -> Any:
        cohort = read_cohort(settings.data, settings.name, plain)
        cohort.patients = assign_folds(cohort.patients, study)
        for one in cohort.patients:
            one.masks["r1"] = Path("r1")
        rng = np.random.default_rng(ord(settings.name))
        label = np.array([one.label for one in cohort.patients])
        values = rng.normal(size=(label.size, len(FEATURES))) + label[:, None]
        ids = [one.patient_id for one in cohort.patients]
        return cohort, Features(FEATURES, ids, {"r1": values}), 0

    monkeypatch.setattr("client.workspace.load_patients", patients)
    nobody = SimpleNamespace(cohort=None, reasons=())
    monkeypatch.setattr("client.app.first_pass", lambda *_: nobody)
    return coordinator.rehearse(
        tabular,
        folds=3,
        verifying=EVERYBODY,
        base_models=["clinical", "radiomics"],
        fusion_models=[STACKER],
        fusion={"pooling": "rows", "candidates": ["forest"], "trees": 10},
        radiomics={"settings": "radiomics-original", "expected_features": len(FEATURES)},
    )


@pytest.fixture
def grids(coordinator: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The grids of all runs, also of one that stops."""
    kept: list[Any] = []

    class Kept(coordinator.Coordinator):
        def __init__(self, sites: Any) -> None:
            super().__init__(sites)
            kept.append(self)

    monkeypatch.setattr(coordinator, "Coordinator", Kept)
    return kept


# -- another stacker for each hospital --------------------------------------------------------


@cache
def constant_stacker() -> Any:
    """Return a stacker that says one half of every patient, as skops bytes."""
    forest = RandomForestClassifier(1, bootstrap=False, max_depth=1, random_state=0)
    fitted = forest.fit(np.zeros((2, 2)), np.array([0, 1]))
    return np.frombuffer(dumps(fitted), dtype=np.uint8)


def stacked_otherwise(view: Any, blob: Any) -> Any:
    """Return the view of the stacker with another one at its end."""
    *before, stack = view.transforms
    return replace(view, transforms=(*before, replace(stack, blob=blob)))


def everywhere_otherwise(view: Any, blob: Any) -> Any:
    """Return a view with another stacker wherever it, or one that it stands on, has one."""
    steps = tuple(
        replace(step, blob=blob) if isinstance(step, Stack) else step for step in view.transforms
    )
    source = view.source
    if isinstance(source, Joined | ByFold):
        parts = tuple(everywhere_otherwise(part, blob) for part in source.parts)
        source = replace(source, parts=parts)
    return replace(view, source=source, transforms=steps)


def two_stackers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hand the real stacker to site a, and one that tells nothing to the other two."""
    sent, ask = Federation._sent, Federation._ask

    def lie_of_progress(self: Federation, site: str, request: Any) -> Any:
        request = sent(self, site, request)
        if site == "a" or not hasattr(request, "progress"):
            return request
        told = []
        for entry in request.progress:
            if isinstance(entry, Agreed) and entry.name == STACKER:
                final = stacked_otherwise(entry.value.fit.final, constant_stacker())
                fit = replace(entry.value.fit, final=final)
                entry = replace(entry, value=replace(entry.value, fit=fit))
            told.append(entry)
        return replace(request, progress=tuple(told))

    def lie_of_bundle(self: Federation, exchange: str, requests: Any, seconds: float) -> Any:
        asked = dict(requests)
        for site, request in asked.items():
            if site != "a" and isinstance(request, EvaluateRequest):
                bundle = Bundle.from_files(request.bundle)
                other = stacked_otherwise(bundle.models[STACKER], constant_stacker())
                files = replace(bundle, models={**bundle.models, STACKER: other}).to_files()
                signed = sign_files(files, simulated_identity(COORDINATOR))
                asked[site] = replace(request, bundle=signed)
            elif site != "a" and isinstance(request, SumRequest):
                # sums over the training patients by the final models, which b and c derive
                items = tuple(
                    replace(one, view=everywhere_otherwise(one.view, constant_stacker()))
                    for one in request.items
                )
                asked[site] = replace(request, items=items)
        return ask(self, exchange, asked, seconds)

    monkeypatch.setattr(Federation, "_sent", lie_of_progress)
    monkeypatch.setattr(Federation, "_ask", lie_of_bundle)


def stacker_over_sites(grid: Any, study: Any) -> Any:
    """Add up what sites sent of the stacker's true and false positives, (198,)."""
    found: dict[str, Any] = {}
    statistic = DecisionCounts()
    for heard in grid.heard:
        if isinstance(heard.request, SumRequest) and isinstance(heard.reply, SumReply):
            at = 0
            for item in heard.request.items:
                size, _ = sizes(item.statistic, len(item.view.outputs()))
                if isinstance(item.statistic, DecisionCounts) and item.subset == "internal":
                    found[heard.site] = heard.reply.ring64[at : at + size]
                at += size
    models = len(study.base_models) + 1
    total = RingSums(np.sum([found[site] for site in EVERYBODY], axis=0), np.zeros(0, np.uint32))
    counts = statistic.finalise(from_rings(statistic, total, models))
    return np.concatenate([counts.tp[-1], counts.fp[-1]])


def true_and_false(scores: Any, label: Any) -> Any:
    """Count the same of one model's scores."""
    above = np.asarray(scores)[:, None] >= THRESHOLDS
    return np.concatenate([above[label > 0.5].sum(axis=0), above[label < 0.5].sum(axis=0)])


@pytest.mark.parametrize("held", [True, False], ids=["with the line", "without"])
def test_a_stacker_for_one_hospital_and_another_for_the_rest_shows_nobodys_scores(
    held: bool, stacking: Any, tmp_path: Path, grids: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    two_stackers(monkeypatch)
    if held:
        with pytest.raises(StudyError):
            stacking.run(tmp_path / "out")
    else:
        monkeypatch.setattr(SiteTables, "made_by", lambda *_: ())
        stacking.run(tmp_path / "out")
    own = stacking.workspace("a").tables.read("scores", "internal")
    # 0.5 of everybody at b and c, whose patients and positives are in their enrolments
    known = [stacking.workspace(site).tables.read("scores", "internal") for site in "bc"]
    label = np.concatenate([rows.label for rows in known])
    rest = true_and_false(np.full(label.size, 0.5), label)
    guess = stacker_over_sites(grids[0], stacking.study) - rest
    right = guess == true_and_false(own.values[:, -1], own.label)
    assert own.n == 15
    assert right.all() != held
    assert right.sum() < 10 or not held


# -- a stacker that says which cell a patient lies in -----------------------------------------


def patients_between_thresholds(found: Any) -> Any:
    """Return the stacker's patients of either class from one threshold to the next, (2, 98)."""
    return np.array([-np.diff(one[-1]) for one in (found.fp, found.tp)])


def cell_stacker(x: Any) -> Any:
    """Return a stacker whose probability is the number of one of 90 cells of two models."""
    tenths, ninths = (np.quantile(x[:, i], np.linspace(0, 1, n + 1)[1:-1]) for i, n in COLUMNS)
    inner = [np.r_[0.0, (e[1:] + e[:-1]) / 2, 1.0] for e in (tenths, ninths)]
    cells = np.array([(one, other) for one in inner[0] for other in inner[1]])
    share = (np.arange(len(cells)) + 0.5) / 100
    forest = RandomForestClassifier(1, bootstrap=False, max_features=None, random_state=0)
    label = np.repeat([0, 1], len(cells))
    fitted = forest.fit(np.vstack([cells, cells]), label, np.r_[1 - share, share])
    return np.frombuffer(dumps(fitted), dtype=np.uint8)


@pytest.mark.parametrize("held", [True, False], ids=["with the line", "without"])
def test_a_chosen_stacker_shows_no_two_scores_of_a_patient_together(
    held: bool, stacking: Any, tmp_path: Path, grids: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = fusion_rows.fit_stacker

    def chosen(study: Any, fitted: Any, rows: Any) -> Any:
        honest, *scores = fit(study, fitted, rows)
        final = stacked_otherwise(honest.final, cell_stacker(rows.probabilities))
        return replace(honest, final=final), *scores

    monkeypatch.setattr(fusion_rows, "fit_stacker", chosen)
    if not held:
        monkeypatch.setattr(local, "join_scores", lambda rows, *_: rows)
    stacking.run(tmp_path / "out")
    (reply,) = [h.reply for h in grids[0].heard if (h.site, h.kind) == ("c", "evaluate.handout")]
    own = stacking.workspace("c").tables.read("scores", "external_1")
    assert own.n == 30
    claimed = patients_between_thresholds(reply.evaluations["external_1"].decision)
    true = patients_between_thresholds(DecisionCounts().finalise(DecisionCounts().from_rows(own)))
    named = claimed == 1.0  # cells and classes in which the curve seems to show one patient alone
    right = int((named & (true == 1.0)).sum())
    if held:  # 22 of 180 cells hold one: chance names 3 or 4 of them
        assert named.sum() > 15 and right < 10
    else:
        assert right == named.sum() > 15


# -- names of runs, enrolments and answers ----------------------------------------------------


def admits(gate: SiteGate, kind: str, request: Any) -> bool:
    try:
        gate.admit(kind, encode(request))
    except StoppedError:
        return False
    return True


@pytest.fixture
def enrolled(tabular: Path, coordinator: Any) -> tuple[Any, Federation, SiteGate]:
    """A study whose sites have agreed on a key of run r, and the gate of site a."""
    trial = coordinator.rehearse(tabular, folds=3, verifying=EVERYBODY)
    federation = trial.federation()
    federation.enrol()
    return trial, federation, SiteGate(load_site(trial.sites["a"]))


def key_request(federation: Federation, run: str) -> KeyRequest:
    digest, members = federation.study.digest(), tuple(federation.members.values())
    return KeyRequest(run, digest, federation.session, members)


def nothing_asked(federation: Federation, run: str, *progress: Any) -> SumRequest:
    digest = federation.study.digest()
    return SumRequest(run, digest, federation.session, 0, (), (), progress)


@pytest.mark.parametrize("held", [True, False], ids=["with the line", "without"])
def test_a_run_under_the_name_of_another_studys_goes_on_from_none_of_its_answers(
    held: bool, enrolled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, federation, _ = enrolled
    if not held:
        monkeypatch.setattr(Verifier, "_expect_own_run", lambda _: None)
    other = replace(trial, study=trial.study.model_copy(update={"seed": 12}))
    if not held:
        other.federation().enrol()
        return
    with pytest.raises(SiteError, match="not_derived"):
        other.federation().enrol()
    assert table1(federation).sets  # and the run that has the name goes on


@pytest.mark.parametrize("most", [8, 10_000], ids=["with the line", "without"])
def test_runs_that_are_begun_and_left_do_not_pile_up_in_the_sites_memory(
    most: int, enrolled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, _, gate = enrolled
    monkeypatch.setattr("client.gate.verifier.MOST_OPEN", most)
    for number in range(20):
        federation = trial.federation(f"begun{most}-{number}")
        federation.enrol()
        assert not admits(gate, "query.sum", nothing_asked(federation, federation.run))
    threads = [t for t in threading.enumerate() if f"begun{most}-" in t.name and t.is_alive()]
    assert len(threads) <= 10 if most == 8 else len(threads) == 20


@pytest.mark.parametrize("run", ["false", "true"])
def test_enrolments_on_which_no_key_was_agreed_begin_nothing(run: str, enrolled: Any) -> None:
    """Shown to one site alone, false or true, they lead to no question and no refusal of others."""
    trial, federation, gate = enrolled
    if run == "false":
        liar = federation.members["b"]
        counts = {name: (n + 1, positives) for name, (n, positives) in liar.counts.items()}
        federation.members["b"] = replace(liar, counts=counts)
    assert admits(gate, "query.key", key_request(federation, run))
    assert not admits(gate, "query.sum", nothing_asked(federation, run))
    assert verifier_of(gate.settings.work, "a", trial.study, run)._derivation is None
    honest = trial.federation("another")
    honest.enrol()
    assert table1(honest).sets


def test_answers_told_twice_or_once_more_with_other_numbers_change_nothing(
    tabular: Path, tmp_path: Path, coordinator: Any
) -> None:
    trial = coordinator.rehearse(tabular, folds=3, verifying=EVERYBODY)
    used: dict[str, list[Any]] = {site: [] for site in EVERYBODY}

    def repeated(site: str, request: Any) -> Any:
        new = getattr(request, "progress", ())
        if not new:
            return request
        false = [
            replace(one, ring64=one.ring64 + np.uint64(1)) if isinstance(one, Totals) else one
            for one in used[site]
        ]
        used[site].extend(new)
        return replace(request, progress=(*false, *new, *new))

    trial.run(tmp_path / "out", ask=repeated)
    assert len(used["a"]) > 10
