"""The privacy budget of the same patients, over all runs and studies of a hospital."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opacus.accountants import RDPAccountant

from client.check.disclosure import check_budget
from client.commands.approve import describe_budget
from client.data.cohort import Cohort, assign_folds, read_cohort
from client.site import SiteSettings, load_site
from client.store.cohorts import Memberships
from client.store.patient_budget import PatientBudget
from client.store.privacy_budget import Spending
from client.store.releases import Releases
from client.store.run_files import RunTables
from client.store.site_db import Draft, site_db
from client.store.updates import Updates
from common.disclosure.rule import RULES
from common.masking.update import SUMS, Update
from common.messages.codec import encode
from common.messages.exchanges import EnrolRequest, RoundPlan, TrainReply, TrainRequest
from common.study.model import Study, load_study
from common.study.private_training import DifferentialPrivacy
from sim.sites import place_sites, with_identities

DELTA = 1e-4
NOISE = 1.5


@dataclass(frozen=True)
class Hospital:
    """Hospital north of a study with one private network of two rounds."""

    settings: SiteSettings
    study: Study
    cohort: Cohort

    def allowing(self, most: float | None) -> Hospital:
        return replace(self, settings=self.settings.model_copy(update={"max_epsilon": most}))

    def of(self, first: int, last: int) -> Hospital:
        """Return it with only these of its training patients, by position."""
        patients = self.cohort.subset(self.study, "train")[first:last]
        cohort = replace(self.cohort, patients=assign_folds(list(patients), self.study))
        return replace(self, cohort=cohort)

    def with_study(self, **changes: Any) -> Hospital:
        return replace(self, study=self.study.model_copy(update=changes))

    @property
    def budget(self) -> PatientBudget:
        return PatientBudget.of(self.settings, self.study, self.cohort)

    def releases(self, run: str, draft: Draft | None = None) -> Releases:
        return Releases(self.settings, self.study, run, self.cohort, draft)

    def enrolment(self, run: str) -> EnrolRequest:
        return EnrolRequest(run=run, study=self.study.digest(), study_json="")

    def training(self, run: str, number: int, variant: str = "final") -> TrainRequest:
        plan = RoundPlan(1, 0.1, -1, total=60, keep=False, round=number)
        return TrainRequest(
            run=run,
            study=self.study.digest(),
            session="s",
            number=number,
            network="dl3d",
            variant=variant,
            weights=np.zeros(3, dtype=np.float32),
            running=np.zeros((0, 2), dtype=np.int64),
            plan=plan,
            keys=(),
        )

    def train(self, run: str, number: int, variant: str = "final") -> set[str]:
        """Train as the handlers do, without a network; return the rules that refuse."""
        request = self.training(run, number, variant)
        draft = Draft(self.settings.work)
        releases = self.releases(run, draft)
        if refusals := releases.refusals("train.network", request):
            return {one.rule for one in refusals}
        one = self.budget.training("dl3d", variant, 1)
        draft.spend(run, replace(one, membership=releases.membership("train").digest))
        empty = np.zeros(0, dtype=np.uint32)
        reply = TrainReply("north", "s", number, request.digest, empty, empty.astype(np.uint64))
        return {one.rule for one in releases.record("train.network", request, reply, encode(reply))}

    def enrol(self, run: str) -> set[str]:
        """Return the rules that refuse an enrolment."""
        refusals = self.releases(run).refusals("query.enrol", self.enrolment(run))
        return {one.rule for one in refusals}


@pytest.fixture
def hospital(imaging_master: Path, tmp_path: Path) -> Hospital:
    study = with_identities(load_study(imaging_master / "study.toml"))
    changes = {
        "base_models": ("clinical", "dl3d"),
        "fusion_models": (),
        "dl3d": study.dl3d.model_copy(update={"rounds": 2, "norm": "group"}),
        "differential_privacy": DifferentialPrivacy(noise_multiplier=NOISE, delta=DELTA),
    }
    study = study.model_copy(update=changes)
    folder = imaging_master / "north"
    placed = place_sites({"north": folder}, tmp_path, tmp_path / "c", exclude_bad_patients=False)
    cohort = read_cohort(folder, "north", study)
    cohort.patients = assign_folds(cohort.patients, study)
    return Hospital(load_site(placed["north"]), study, cohort)


def by_opacus(spendings: Any) -> float:
    """Return what Opacus' own accountant says of every step."""
    accountant = RDPAccountant()
    for one in spendings:
        for _ in range(one.steps):
            accountant.step(noise_multiplier=one.noise_multiplier, sample_rate=one.sample_rate)
    return float(accountant.get_epsilon(DELTA))


def test_two_runs_of_two_studies_cost_together_what_opacus_says(hospital: Hospital) -> None:
    other = hospital.with_study(name="other")
    assert not hospital.train("r1", 0)
    assert not other.train("r2", 0, "fold0")
    spent = other.budget.spent()
    assert len(spent) == 2
    assert other.budget.epsilon(spent) == pytest.approx(by_opacus(spent), abs=1e-9)
    assert other.budget.epsilon(spent) > hospital.budget.epsilon(spent[:1]) > 0


def test_a_training_above_the_limit_is_refused_before_it_and_one_below_is_not(
    hospital: Hospital,
) -> None:
    each = hospital.budget.training("dl3d", "final", 1)
    limit = hospital.budget.epsilon([each] * 3) + 1e-6
    own, other = hospital.allowing(limit), hospital.with_study(name="other").allowing(limit)
    assert not own.train("r1", 0)
    assert not other.train("r2", 0)
    assert not own.train("r1", 1)
    assert other.train("r2", 1) == {"privacy_budget"}
    assert own.train("r3", 0) == {"privacy_budget"}
    assert len(site_db(own.settings.work).all_spendings()) == 3


def test_without_the_limit_the_same_trainings_are_answered(hospital: Hospital) -> None:
    for number in range(4):
        assert not hospital.train(f"r{number}", number)


def test_two_trainings_at_once_do_not_both_take_what_is_left(hospital: Hospital) -> None:
    """Both were let in before either was recorded; the second is refused with its numbers."""
    limit = hospital.budget.epsilon([hospital.budget.training("dl3d", "final", 1)]) + 1e-6
    own = hospital.allowing(limit)
    drafts = [Draft(own.settings.work) for _ in range(2)]
    releases = [own.releases(f"r{k}", draft) for k, draft in enumerate(drafts)]
    requests = [own.training(f"r{k}", 0) for k in range(2)]
    for one, request in zip(releases, requests, strict=True):
        assert not one.refusals("train.network", request)
    empty = np.zeros(0, dtype=np.uint32)
    outcomes = []
    for k, (one, request) in enumerate(zip(releases, requests, strict=True)):
        drafts[k].spend(f"r{k}", own.budget.training("dl3d", "final", 1))
        reply = TrainReply("north", "s", 0, request.digest, empty, empty.astype(np.uint64))
        outcomes.append(
            {r.rule for r in one.record("train.network", request, reply, encode(reply))}
        )
    assert outcomes == [set(), {"privacy_budget"}]


def test_a_training_that_is_remembered_with_its_update_counts_once(hospital: Hospital) -> None:
    """In a deployment the cost is remembered before the reply, which may be asked for again."""
    limit = hospital.budget.epsilon([hospital.budget.training("dl3d", "final", 1)]) + 1e-6
    own = hospital.allowing(limit)
    draft = Draft(own.settings.work)
    releases = own.releases("r", draft)
    updates = Updates(RunTables(own.settings.work, "r").folder, draft, kept=True)
    empty = np.zeros(0, dtype=np.float32)

    def trained() -> Update:
        draft.spend("r", own.budget.training("dl3d", "final", 1))
        return Update(empty, empty, np.zeros(SUMS))

    request = own.training("r", 0)
    for _ in range(2):
        assert not releases.refusals("train.network", request)
        updates.update(request, trained)
        rings = empty.astype(np.uint32), empty.astype(np.uint64)
        reply = TrainReply("north", "s", 0, request.digest, *rings)
        assert not releases.record("train.network", request, reply, encode(reply))
    assert {one.rule for one in releases.refusals("train.network", own.training("r", 1))} == {
        "privacy_budget"
    }


def test_a_study_that_would_exceed_the_limit_is_refused_at_enrolment(hospital: Hospital) -> None:
    whole = hospital.budget.epsilon(hospital.budget.whole_study())
    assert hospital.allowing(whole * 0.999).enrol("r1") == {"privacy_budget"}
    own = hospital.allowing(whole * 1.001)
    assert not own.enrol("r1")
    own.train("r1", 0)
    assert not own.enrol("r1"), "an interrupted run goes on within what it was planned with"
    assert own.enrol("r2") == {"privacy_budget"}


def test_the_planned_cost_is_that_of_all_trainings_of_the_study(hospital: Hospital) -> None:
    planned = list(hospital.budget.whole_study())
    assert len(planned) == 2 * (hospital.study.folds + 1)
    patients = len(hospital.cohort.subset(hospital.study, "train"))
    settings = hospital.study.dl3d
    final = next(one for one in planned if one.variant == "final")
    assert final.sample_rate == min(settings.batch_size, patients) / patients
    assert final.steps == math.ceil(patients / settings.batch_size)
    assert {one.noise_multiplier for one in planned} == {NOISE}


def test_one_patient_in_common_counts_and_none_does_not(hospital: Hospital) -> None:
    hospital.of(0, 10).train("r1", 0)
    assert len(hospital.of(9, 20).budget.spent()) == 1
    assert hospital.of(10, 20).budget.spent() == ()


def test_a_training_of_an_earlier_release_counts_for_everybody(hospital: Hospital) -> None:
    draft = Draft(hospital.settings.work)
    draft.spend("old", Spending("dl3d", "final", 1.0, 0.1, 5))
    draft.remember()
    assert len(hospital.of(0, 5).budget.spent()) == 1


def test_a_network_without_noise_has_no_epsilon_within_any_limit(hospital: Hospital) -> None:
    bare = hospital.with_study(differential_privacy=DifferentialPrivacy())
    assert not bare.enrol("r1")
    assert bare.allowing(1e9).enrol("r1") == {"privacy_budget"}
    assert bare.allowing(1e9).train("r1", 0) == {"privacy_budget"}


def test_a_study_with_a_careless_delta_is_counted_at_one_over_the_patients(
    hospital: Hospital,
) -> None:
    """Else a coordinator would name a delta at which any training seems to cost nothing."""
    careless = hospital.with_study(
        differential_privacy=DifferentialPrivacy(noise_multiplier=NOISE, delta=0.9)
    )
    patients = len(hospital.cohort.subset(hospital.study, "train"))
    assert careless.budget.delta == 1 / patients
    assert hospital.budget.delta == DELTA
    assert careless.budget.epsilon(careless.budget.whole_study()) > 0.1


def test_a_refusal_names_neither_the_limit_nor_what_was_spent(hospital: Hospital) -> None:
    own = hospital.allowing(0.123)
    (one,) = own.releases("r").refusals("query.enrol", own.enrolment("r"))
    assert (one.rule, one.threshold) == ("privacy_budget", 1.0)
    assert one.subset == "train"


def test_the_check_says_what_was_spent_and_what_would_be(hospital: Hospital) -> None:
    hospital.train("r1", 0)
    before = hospital.budget.epsilon(hospital.budget.spent())
    whole = hospital.budget.epsilon([*hospital.budget.spent(), *hospital.budget.whole_study()])
    expected = {None: "warning", whole * 1.01: "ok", whole * 0.99: "problem"}
    for most, severity in expected.items():
        own = hospital.allowing(most)
        (row,) = check_budget(own.cohort, own.study, own.settings)
        assert row.severity == severity
        assert f"epsilon {before:.3g} was spent" in row.what
        assert f"{whole:.3g} with this study" in row.what
    assert row.remedy == RULES["privacy_budget"].remedy_here


def test_a_study_without_networks_spends_nothing(hospital: Hospital) -> None:
    bare = hospital.with_study(base_models=("clinical",)).allowing(1.0)
    (row,) = check_budget(bare.cohort, bare.study, bare.settings)
    assert row.severity == "not applicable"
    assert not bare.enrol("r1")


def test_the_check_leaves_no_memory_behind_where_nothing_was_released(
    hospital: Hospital, tmp_path: Path
) -> None:
    fresh = hospital.settings.model_copy(update={"work": tmp_path / "fresh"})
    list(check_budget(hospital.cohort, hospital.study, fresh))
    assert not (fresh.work / "site.db").exists()


def test_approval_shows_the_account_and_what_it_leaves_out(hospital: Hospital) -> None:
    hospital.train("r1", 0)
    shown = " ".join(describe_budget(hospital.study, hospital.settings))
    assert "no limit: site.toml has no max_epsilon" in shown
    assert f"epsilon {hospital.budget.epsilon(hospital.budget.spent()):.3g} at" in shown
    assert "sums and out-of-fold rows are exact" in shown
    own = hospital.allowing(4.0)
    assert "max_epsilon = 4;" in " ".join(describe_budget(own.study, own.settings))
    bare = own.with_study(differential_privacy=DifferentialPrivacy())
    assert "WOULD REFUSE IT" in " ".join(describe_budget(bare.study, bare.settings))


def test_memberships_of_spendings_can_be_read_again(hospital: Hospital) -> None:
    hospital.train("r1", 0)
    ((run, one),) = site_db(hospital.settings.work).all_spendings()
    ids = [p.patient_id for p in hospital.cohort.subset(hospital.study, "train")]
    memberships = Memberships(hospital.settings.work)
    assert run == "r1"
    assert memberships.recall(one.membership) == memberships.of(ids)
