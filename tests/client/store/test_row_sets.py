from __future__ import annotations

from pathlib import Path

import pytest

from client.store.audits import audit_releases, own_sets
from client.store.cohorts import Memberships
from client.store.privacy_budget import Spending
from client.workspace import Workspace
from sim.engines.inprocess import SERVER_NODE, task_identity
from tests.attacks import coordinator


@pytest.fixture
def workspace(tabular: Path) -> Workspace:
    rehearsal = coordinator.rehearse(tabular)
    with task_identity(SERVER_NODE):
        rehearsal.federation().enrol()
    return rehearsal.workspace("a")


def test_the_sets_of_an_honest_study_are_subsets_and_folds_and_determine_nobody(
    workspace: Workspace,
) -> None:
    train = {p.patient_id for p in workspace.cohort.subset(workspace.study, "train")}
    sets = list(own_sets(workspace))
    folds = sets[1 : 1 + workspace.study.folds]
    assert sets[0] == train == frozenset().union(*folds)
    found = audit_releases(workspace, {})
    assert (found.smallest, found.determined) == (min(map(len, sets)), 0)
    assert found.epsilon == 0.0


def test_an_earlier_sum_without_one_patient_determines_this_one(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    patients = [p.patient_id for p in workspace.cohort.subset(workspace.study, "train")]
    earlier = Memberships(workspace.settings.work).of(patients[1:]).members

    monkeypatch.setattr(Memberships, "earlier", lambda _: [earlier])
    assert audit_releases(workspace, {}).determined == 1


def test_epsilon_adds_up_over_the_runs_of_the_same_patients(workspace: Workspace) -> None:
    trained = workspace.releases.membership("train")
    Memberships(workspace.settings.work).keep(trained)
    epsilons: list[float] = []
    for run in ("last year", "this year"):
        workspace.draft.spend(run, Spending("dl2d", "final", 1.0, 0.1, 100, trained.digest))
        workspace.draft.remember()
        epsilons.append(audit_releases(workspace, {}).epsilon or 0.0)
    assert 0.0 < epsilons[0] < epsilons[1]
    workspace.draft.spend("without noise", Spending("dl2d", "final", 0.0, 0.1, 1, trained.digest))
    workspace.draft.remember()
    assert audit_releases(workspace, {}).epsilon is None
