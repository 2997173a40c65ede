"""List what this site would refuse of a study, from its cohort alone: no image is read."""

from __future__ import annotations

import numpy as np

from client.data.cohort import READING_PAIRS, Cohort, Patient
from client.data.tables import coded_table
from common.disclosure import Foretold, foretell
from common.statistics.base import Rows
from common.study.model import PrivacySettings, Study
from common.study.sums import subsets_of


def foretold(cohort: Cohort, study: Study, privacy: PrivacySettings) -> Foretold:
    """Ask the rules about a cohort whose folds are dealt.

    Parameters
    ----------
    privacy : thresholds in force at the site.
    """
    rows = {
        subset: _rows(cohort.subset(study, subset), study)
        for subset in subsets_of(study, cohort.site)
    }
    masks = [set(p.masks) for p in cohort.subset(study, "train")] if "train" in rows else []
    twice = {
        f"{first} and {second}": sum({first, second} <= own for own in masks)
        for first, second in READING_PAIRS
    }
    return foretell(study, privacy, rows, twice)


def _rows(patients: list[Patient], study: Study) -> Rows:
    """The clinical values as they are, with label and fold."""
    return Rows(
        values=coded_table(patients, study),
        columns=tuple(column.name for column in study.clinical),
        label=np.array([p.label for p in patients], dtype=np.float64),
        fold=np.array([p.fold for p in patients], dtype=np.int64),
    )
