"""Attack (o): further ways round what every site derives, found on the finished protocol."""

from __future__ import annotations

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
from common.bundle.bundle import Bundle
from common.bundle.signature import sign_files
from common.errors import StudyError
from common.masking.layout import RingSums, from_rings, sizes
from common.messages.exchanges import Agreed, EvaluateRequest, SumReply, SumRequest
from common.statistics.scores import THRESHOLDS, DecisionCounts
from common.study.model import load_study
from server.federation.federation import Federation
from server.phases.decision import STACKER
from sim.equality.sites import GivenFeatures
from sim.identities import COORDINATOR, simulated_identity

FEATURES = tuple(f"original_firstorder_{name}" for name in ("Mean", "Median", "Range", "Energy"))
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
        verifying=EVERYBODY,
        base_models=["clinical", "radiomics"],
        fusion_models=[STACKER],
        fusion={"pooling": "rows"},
        radiomics={"settings": "radiomics-original", "expected_features": len(FEATURES)},
    )


# -- another stacker for each hospital --------------------------------------------------------


@cache
def constant_stacker() -> Any:
    """Return a stacker that says one half of every patient, as skops bytes."""
    forest = RandomForestClassifier(1, bootstrap=False, max_depth=1, random_state=0)
    fitted = forest.fit(np.zeros((2, 2)), np.array([0, 1]))
    return np.frombuffer(dumps(fitted), dtype=np.uint8)


def stacked_otherwise(view: Any) -> Any:
    """Return the view of the stacker with another one at its end."""
    *before, stack = view.transforms
    return replace(view, transforms=(*before, replace(stack, blob=constant_stacker())))


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
                final = stacked_otherwise(entry.value.fit.final)
                fit = replace(entry.value.fit, final=final)
                entry = replace(entry, value=replace(entry.value, fit=fit))
            told.append(entry)
        return replace(request, progress=tuple(told))

    def lie_of_bundle(self: Federation, exchange: str, requests: Any, seconds: float) -> Any:
        asked = dict(requests)
        for site, request in asked.items():
            if site != "a" and isinstance(request, EvaluateRequest):
                bundle = Bundle.from_files(request.bundle)
                models = {**bundle.models, STACKER: stacked_otherwise(bundle.models[STACKER])}
                files = replace(bundle, models=models).to_files()
                signed = sign_files(files, simulated_identity(COORDINATOR))
                asked[site] = replace(request, bundle=signed)
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
    held: bool, stacking: Any, tmp_path: Path, coordinator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    grids = []

    class Kept(coordinator.Coordinator):
        def __init__(self, sites: Any) -> None:
            super().__init__(sites)
            grids.append(self)

    monkeypatch.setattr(coordinator, "Coordinator", Kept)
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
