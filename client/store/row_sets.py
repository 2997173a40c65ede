"""The sets of its patients that a hospital was asked about, for the audit of its releases."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from client.store.cohorts import Memberships
from client.store.derived_files import StandIns
from client.store.patient_budget import PatientBudget
from client.store.site_db import site_db
from client.workspace import Workspace
from common.evaluation.level_areas import LevelAreas
from common.evaluation.release_audit import ReleaseAudit, determined_patients, smallest_set
from common.study.strata import TABLE, strata_columns
from common.study.sums import subsets_of

Patients = frozenset[str]


def audit_releases(
    workspace: Workspace, strata: Mapping[str, Mapping[str, LevelAreas]]
) -> ReleaseAudit:
    """Measure what the sets asked about tell of single patients of this hospital.

    Parameters
    ----------
    strata : by set and column, the levels that the hospital is about to publish.
    """
    sets = [*own_sets(workspace), *_level_sets(workspace, strata)]
    memberships = Memberships(workspace.settings.work)
    earlier = memberships.earlier()
    hidden = [memberships.of(one).members for one in sets]
    budget = PatientBudget.of(workspace.settings, workspace.study, workspace.cohort)
    epsilon = budget.epsilon(budget.spent())
    derives = workspace.settings.verify and workspace.study.derivable
    stand_ins = StandIns(site_db(workspace.settings.work), workspace.run) if derives else None
    return ReleaseAudit(
        smallest=smallest_set(sets),
        determined=len(determined_patients([*hidden, *earlier])),
        epsilon=round(epsilon, 2) if math.isfinite(epsilon) else None,
        stand_ins=stand_ins.count if stand_ins else None,
    )


def own_sets(workspace: Workspace) -> Iterator[Patients]:
    """Yield the subsets of the study and the training folds, by patient id.

    A training, or a matrix of products, without some folds is a combination of these.
    """
    for subset in subsets_of(workspace.study, workspace.name):
        patients = workspace.cohort.subset(workspace.study, subset)
        yield frozenset(p.patient_id for p in patients)
        if subset == "train":
            for fold in range(workspace.study.folds):
                yield frozenset(p.patient_id for p in patients if p.fold == fold)


def _level_sets(
    workspace: Workspace, strata: Mapping[str, Mapping[str, LevelAreas]]
) -> Iterator[Patients]:
    names = [column.name for column in strata_columns(workspace.study)]
    for subset, columns in strata.items():
        if not columns:
            continue
        patients = workspace.cohort.subset(workspace.study, subset)
        codes = workspace.tables.read(TABLE, subset).values
        for name, levels in columns.items():
            own = codes[:, names.index(name)]
            for level in np.flatnonzero(levels.hidden < 0.5):
                yield frozenset(
                    p.patient_id for p, code in zip(patients, own, strict=True) if code == level
                )
