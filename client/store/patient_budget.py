"""Privacy budget of a site's patients over all runs and studies: the rule `privacy_budget`.

Rényi divergences of trainings add up whatever study they are of (`client.store.privacy_budget`). A
training counts for the patients of now as soon as one of them took part in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from client.data.cohort import Cohort
from client.data.folds import largest_fold
from client.site import SiteSettings
from client.store.cohorts import Memberships
from client.store.privacy_budget import Spending, epsilon_of, poisson
from client.store.site_db import site_db
from common.models import network_name
from common.networks.schedule import validation_fold
from common.study.model import Study
from common.study.strata import asks_for_levels


@dataclass(frozen=True)
class PatientBudget:
    """Budget of the training patients of one study at this site.

    Parameters
    ----------
    work : the site's work folder.
    folds : number of the site's training patients in each fold.
    patients : their ids.
    most : `max_epsilon` of site.toml; None = no limit.
    """

    work: Path
    study: Study
    folds: tuple[int, ...]
    patients: frozenset[str]
    most: float | None

    @classmethod
    def of(cls, settings: SiteSettings, study: Study, cohort: Cohort) -> PatientBudget:
        """Return the budget of a cohort with assigned folds."""
        patients = cohort.subset(study, "train")
        folds = [0] * study.folds
        for patient in patients:
            folds[patient.fold] += 1
        names = frozenset(patient.patient_id for patient in patients)
        return cls(settings.work, study, tuple(folds), names, settings.max_epsilon)

    @property
    def delta(self) -> float:
        """The study's, but at most one over the number of patients: above it promises nothing."""
        own = self.study.differential_privacy.delta
        return min(own, 1.0 / max(sum(self.folds), 2))

    def spent(self, but: str = "") -> tuple[Spending, ...]:
        """Return what trainings of these patients cost in all runs, except those of run `but`."""
        found = [one for run, one in site_db(self.work).all_spendings() if run != but]
        if not found:
            return ()
        memberships = Memberships(self.work)
        own = memberships.of(self.patients).members

        def concerns(membership: str) -> bool:
            """Say if one of the patients took part; of a training of an earlier release: yes."""
            return not membership or not own.isdisjoint(memberships.recall(membership).members)

        return tuple(one for one in found if concerns(one.membership))

    def training(
        self, network: str, variant: str, epochs: int, largest: int | None = None
    ) -> Spending:
        """Return what one round of a training is going to cost; noise 0 where there is none.

        Parameters
        ----------
        largest : patients in each fold left out; None = as the folds are.
        """
        settings = self.study.network(network_name(network))
        fold = -1 if variant == "final" else int(variant.removeprefix("fold"))
        out = (fold, validation_fold(settings, fold, len(self.folds)))
        left_out = [n for k, n in enumerate(self.folds) if k in out]
        gone = sum(left_out) if largest is None else largest * len(left_out)
        patients = max(1, sum(self.folds) - gone)
        rate, steps = poisson(patients, settings, epochs)
        noise = self.study.differential_privacy.noise_multiplier
        return Spending(network, variant, noise, rate, steps)

    def whole_study(self) -> Iterator[Spending]:
        """Yield what the study's trainings are going to cost, if none is repeated.

        At most, where the folds are dealt by levels after the enrolment (`client.data.folds`).
        """
        if not sum(self.folds):
            return
        dealt = asks_for_levels(self.study)
        largest = largest_fold(sum(self.folds), max(self.folds)) if dealt else None
        variants = (*(f"fold{k}" for k in range(self.study.folds)), "final")
        for network in self.study.networks:
            settings = self.study.network(network)
            for variant in variants:
                round_ = self.training(network, variant, settings.local_epochs, largest)
                yield from [round_] * settings.rounds

    def epsilon(self, spendings: Iterable[Spending]) -> float:
        """Return what these cost a patient together, at `delta`."""
        return epsilon_of(spendings, self.delta)

    def exceeded_by(self, spendings: Iterable[Spending]) -> bool:
        """Say if these are together above `max_epsilon`."""
        return self.most is not None and self.epsilon(spendings) > self.most
