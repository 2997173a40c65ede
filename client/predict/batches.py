"""Batches of the patients to be predicted: the hospital's own, or of nobody that trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from client.predict.inputs import Case
from client.store.batches import KeptBatches
from common.bundle.bundle import Bundle
from common.learning.combat import BatchEffects
from common.statistics.base import Int
from common.transforms.harmonise import OWN, Harmonise, harmonising_steps
from common.transforms.views import Table, View

_UNSEEN = "not of a hospital or scanner that the models were trained at"
_AS_OWN = "Features are harmonised as those of this hospital's training patients."
_BY_COHORT = (
    f"The patient is {_UNSEEN}: features are harmonised by estimates from the patients of this"
    " prediction, so without the others the numbers would differ a little."
)
_AS_THEY_ARE = f"The patient is {_UNSEEN}: features are used as they are."


@dataclass(frozen=True)
class Batches:
    """Codes of scanners, and the effects that a hospital keeps of its own batches.

    Parameters
    ----------
    steps : the harmonising step of each base table, and what leads to it.
    scanners : by code, those that the hospital trained with first.
    kept : by base table; empty where this is no hospital that trained.
    """

    steps: Mapping[str, tuple[View, Harmonise]]
    scanners: tuple[str, ...]
    kept: Mapping[str, BatchEffects]

    def codes(self, cases: Sequence[Case]) -> Int:
        """Return the code of each patient's batch (n,)."""
        return np.array([self.scanners.index(case.scanner) for case in cases], dtype=np.int64)

    def note(self, case: Case, tables: Sequence[str], others: Sequence[Case]) -> str:
        """Say how the features of these tables were harmonised; empty where none is.

        Parameters
        ----------
        others : all patients of the prediction that have these tables, this one included.
        """
        used = [name for name in tables if name in self.steps]
        if not used:
            return ""
        codes = self.codes([case])
        if all(name in self.kept and self.kept[name].seen(codes).all() for name in used):
            return _AS_OWN
        step = self.steps[used[0]][1]
        known = self.kept.get(used[0])
        everybody = self.codes(others)
        unseen = everybody.size if known is None else int((~known.seen(everybody)).sum())
        return _BY_COHORT if step.unseen == OWN and unseen >= step.fewest else _AS_THEY_ARE


def batches_of(bundle: Bundle, cases: Sequence[Case], kept: KeptBatches | None) -> Batches:
    """Return the batches of these patients under the models of a bundle."""
    steps: dict[str, tuple[View, Harmonise]] = {}
    for model in bundle.models.values():
        for before, step in harmonising_steps(model):
            if isinstance(before.source, Table):
                steps.setdefault(before.source.name, (before, step))
    own = kept.scanners if kept is not None else ()
    other = sorted({case.scanner for case in cases} - set(own))
    return Batches(steps, (*own, *other), kept.effects if kept is not None else {})
