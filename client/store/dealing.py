"""Folds of a site's training patients: dealt once, and the same ever after.

Of two dealings that differ by a few patients, a sum by fold of each would tell these by
subtraction. So the first one stands, whatever study, run or process asks next, while seed, number
of folds and patients are the same. Another seed deals all patients anew.
"""

from __future__ import annotations

from dataclasses import replace

from client.data.cohort import Cohort, assign_folds
from client.store.cohorts import Memberships
from client.store.site_db import Draft
from common.statistics.base import Float
from common.study.model import Study


class Dealing:
    """The folds of one cohort, whose patients it changes in place."""

    def __init__(self, draft: Draft, study: Study, cohort: Cohort) -> None:
        self._draft, self._study, self._cohort = draft, study, cohort
        self._ids = sorted(p.patient_id for p in cohort.subset(study, "train"))
        self._name, self._kept = "", False
        if self._ids:
            members = Memberships(draft.db.path.parent).of(self._ids)
            self._name = f"{study.seed}/{study.folds}/{members.digest}"
        self._stands()

    def follow(self) -> bool:
        """Take over what another process has dealt meanwhile; True if patients changed folds."""
        if self._kept or not self._ids:
            return False
        before = self._folds()
        self._kept = self._stands()
        return self._folds() != before

    def deal(self, totals: Float) -> None:
        """Deal by the patients of all sites with each level, unless the patients were dealt before.

        Parameters
        ----------
        totals : (columns, levels), see `LevelTotals`.
        """
        if not self._stands():
            self._cohort.patients = assign_folds(self._cohort.patients, self._study, totals)
            self.settle()

    def settle(self) -> None:
        """Keep the folds as they are, with the reply under way; an earlier dealing stands."""
        if self._ids and not self._stands():
            folds = self._folds()
            kept = ",".join(str(folds[patient]) for patient in self._ids)
            self._draft.fix("dealing", self._name, kept)

    def _folds(self) -> dict[str, int]:
        return {p.patient_id: p.fold for p in self._cohort.subset(self._study, "train")}

    def _stands(self) -> bool:
        """Put patients into the folds that they were dealt to before; False if they were not."""
        kept = self._draft.fact("dealing", self._name) if self._ids else None
        if kept is None:
            return False
        folds = dict(zip(self._ids, map(int, kept.split(",")), strict=True))
        if folds != self._folds():
            self._cohort.patients = [
                replace(p, fold=folds.get(p.patient_id, p.fold)) for p in self._cohort.patients
            ]
        return True
