"""Attack (m): rounds of one step, of draws that the coordinator knows, each an equation in labels.

A network of zeros calls every patient even, so the first step of its last number is the share of
positives among those drawn. Who knows whom each hospital drew, and asks often enough, has as many
equations as there are patients; masks change nothing, as a sum over hospitals is an equation too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from client.store.updates import Updates
from client.training import round as site_round
from client.training.batches import Crops, training_draws
from client.training.draws import Draws
from common.disclosure import rounds
from common.errors import RefusedError, SiteError
from common.messages.exchanges import RoundPlan
from common.statistics.base import Float
from server.federation.federation import Federation
from server.federation.obstacles import ObstaclesError
from tests import builders
from tests.conftest import write_tabular_hospital

pytestmark = pytest.mark.usefixtures("server_identity", "declares_dl3d", "one_number")
SITES, PATIENTS, ROUNDS = "abc", 20, 90
TOTAL = PATIENTS * len(SITES)
NETWORK: dict[str, Any] = {
    "rounds": ROUNDS,
    "local_steps": 1,
    "batch_size": 2,
    "learning_rate": 1.0,
    "optimiser": "sgd",
    "momentum": 0.0,
    "weight_decay": 0.0,
    "input_size": 16,
    "norm": "group",
    "augment": False,
}
SMALL = {"min_rows_per_fold": 4, "min_class_per_fold": 1}
KNOWN = b"whatever the coordinator chose"
NOTHING = np.zeros((0, 2), dtype=np.int64)


class OneNumber(nn.Module):
    """The last number of a network whose others are zero: all that the attack looks at."""

    width = 1

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = torch.zeros(len(images), 1)
        return features, features.squeeze(1) + self.bias


def crops_of(workspace: Any, kind: Any, patients: Any) -> Crops:
    label = np.array([patient.label for patient in patients], dtype=np.float32)
    images = np.broadcast_to(np.zeros((16, 16, 16), dtype=np.float32), (len(label), 16, 16, 16))
    return Crops(images, np.arange(len(label)), label)


def network_of(study: Any, kind: Any, weights: Any) -> OneNumber:
    model = OneNumber()
    with torch.no_grad():
        model.bias.copy_(torch.tensor(weights))
    return model


@pytest.fixture
def one_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_round, "network_of", network_of)
    monkeypatch.setattr(site_round, "crops_of", crops_of)


@pytest.fixture
def known_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variant without the site's own secret."""
    monkeypatch.setattr(site_round, "draw_secret", lambda work: KNOWN)


@pytest.fixture
def few_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variant without the rule `drawn`."""
    for module in (rounds, site_round):
        monkeypatch.setattr(module, "fewest_drawn", lambda *_: TOTAL)


@pytest.fixture
def asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variant without the rule `update`."""
    monkeypatch.setattr(Updates, "reserve", lambda self, request, privacy: ())


@pytest.fixture
def hospitals(tmp_path: Path) -> Path:
    for name in SITES:
        write_tabular_hospital(tmp_path / name, name, PATIENTS, 10, 10)
    builders.study_file(tmp_path / "study.toml", **builders.TABULAR)
    return tmp_path


def study_of(coordinator: Any, hospitals: Path, **network: Any) -> Any:
    return coordinator.rehearse(hospitals, privacy=SMALL, dl3d={**NETWORK, **network})


def begun(rehearsal: Any, run: str = "r") -> Federation:
    federation: Federation = rehearsal.federation(run)
    federation.enrol()
    return federation


def ask(federation: Federation, number: int = 0, bias: float = 0.0) -> float:
    """Return the change that the sum of all hospitals tells."""
    plan = RoundPlan(1, 1.0, excluded_fold=-1, total=TOTAL, keep=False, round=number)
    weights = np.full(1, bias, dtype=np.float32)
    return float(federation.train("dl3d", "final", weights, NOTHING, plan).update.change[0])


def refused(federation: Federation, **question: Any) -> str:
    """Return the rule that refuses a question."""
    with pytest.raises(RefusedError) as error:
        ask(federation, **question)
    return str(error.value).split("rule ")[1].split(",")[0]


def equations(rehearsal: Any) -> Iterator[tuple[int, Float]]:
    """Yield by round who adds how much to the sum, as the coordinator works it out."""
    study = rehearsal.study
    nobody = crops_of(None, "dl3d", [dataclasses.make_dataclass("P", ["label"])(0)] * PATIENTS)
    for number in range(ROUNDS):
        row = np.zeros(TOTAL)
        for place in range(len(SITES)):
            draws = Draws(KNOWN, "r", "dl3d", "final", study.seed, number)
            drawn = next(training_draws(nobody, study.dl3d, draws.generator("batches"))).chosen
            row[place * PATIENTS + drawn] = PATIENTS / TOTAL / len(drawn)
        yield number, row


def labels_found(rehearsal: Any, federation: Federation) -> Float:
    """Solve for every patient's label, by hospital and row."""
    known = dict(equations(rehearsal))
    heard = [ask(federation, number) + 0.5 for number in known]
    return np.linalg.lstsq(np.array(list(known.values())), np.array(heard), rcond=None)[0]


def truth(rehearsal: Any) -> Float:
    cohorts = [rehearsal.workspace(site).cohort for site in SITES]
    return np.array([p.label for c in cohorts for p in c.subset(rehearsal.study, "train")])


@pytest.mark.usefixtures("known_draws", "few_drawn")
def test_known_draws_of_one_step_tell_the_label_of_every_patient(
    coordinator: Any, hospitals: Path
) -> None:
    rehearsal = study_of(coordinator, hospitals)
    found = labels_found(rehearsal, begun(rehearsal))
    assert np.array_equal(found > 0.5, truth(rehearsal) > 0.5)
    assert np.abs(found - truth(rehearsal)).max() < 0.01


@pytest.mark.usefixtures("few_drawn")
def test_draws_from_the_sites_own_secret_tell_no_label(coordinator: Any, hospitals: Path) -> None:
    rehearsal = study_of(coordinator, hospitals)
    found, true = labels_found(rehearsal, begun(rehearsal)), truth(rehearsal)
    higher = found[true > 0.5][:, None] - found[true < 0.5]
    assert 0.3 < (higher > 0).mean() < 0.7  # no better than guessing, as an area under the curve


@pytest.mark.usefixtures("known_draws")
def test_a_study_of_such_rounds_is_refused_before_anything_is_computed(
    coordinator: Any, hospitals: Path
) -> None:
    rehearsal = study_of(coordinator, hospitals)
    federation = rehearsal.federation()
    with pytest.raises(ObstaclesError, match="site c: refuses: rule drawn"):
        federation.enrol()


@pytest.mark.usefixtures("known_draws")
def test_a_site_that_enrolled_refuses_such_a_round_all_the_same(
    coordinator: Any, hospitals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rehearsal = study_of(coordinator, hospitals)
    with monkeypatch.context() as enrolling:
        enrolling.setattr(rounds, "fewest_drawn", lambda *_: TOTAL)
        federation = begun(rehearsal)
    assert refused(federation) == "drawn"


@pytest.mark.usefixtures("asked_again")
def test_a_round_asked_again_and_again_tells_as_many_gradients_of_its_patients(
    coordinator: Any, hospitals: Path
) -> None:
    federation = begun(study_of(coordinator, hospitals, local_steps=5))
    told = {ask(federation, bias=bias) for bias in (0.0, 0.5, 1.0)}
    assert len(told) == 3


def test_a_round_is_answered_once_whatever_is_asked_of_it(
    coordinator: Any, hospitals: Path
) -> None:
    rehearsal = study_of(coordinator, hospitals, local_steps=5)
    federation = begun(rehearsal)
    first = ask(federation)
    assert refused(federation, bias=0.5) == "update"
    assert ask(federation) == first
    resumed = begun(rehearsal)  # in another session, under other masks
    with pytest.raises(SiteError, match="overtaken"):
        ask(resumed)
    resumed.number = federation.number
    assert refused(resumed, bias=0.5) == "update"
    assert ask(resumed) == first


def test_rounds_that_the_study_has_not_are_refused(coordinator: Any, hospitals: Path) -> None:
    federation = begun(study_of(coordinator, hospitals, local_steps=5, rounds=2))
    assert ask(federation, 1) != 0.0
    assert refused(federation, number=2) == "update"
    assert refused(federation, number=-1) == "update"


def test_new_runs_draw_anew_a_few_times_and_no_more(coordinator: Any, hospitals: Path) -> None:
    rehearsal = study_of(coordinator, hospitals, local_steps=5)
    most = rehearsal.study.privacy.max_releases
    told = [ask(begun(rehearsal, f"run{number}")) for number in range(most)]
    assert len(set(told)) > 1
    assert refused(begun(rehearsal, "one-more")) == "releases"


def test_patients_may_have_very_different_numbers_of_crops(
    coordinator: Any, hospitals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One patient may have most of the crops, which nobody knows before the round."""
    federation = begun(study_of(coordinator, hospitals, local_steps=5))

    def lopsided(workspace: Any, kind: Any, patients: Any) -> Crops:
        own = crops_of(workspace, kind, patients)
        patient = np.concatenate([np.zeros(30, dtype=np.int64), own.patient])
        images = np.broadcast_to(own.images[:1], (len(patient), 16, 16, 16))
        return Crops(images, patient, own.label[patient])

    monkeypatch.setattr(site_round, "crops_of", lopsided)
    assert refused(federation) == "drawn"
