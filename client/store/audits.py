"""Audits of what left a hospital in a run: planted canaries, and sets that single out patients.

See `common.evaluation.canaries` and `common.evaluation.release_audit`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np

from client.data.tables import SiteTables
from client.site import LOG
from client.store.audited_totals import SUBSET, AuditedTotal, AuditedTotals
from client.store.cohorts import Memberships, changed_by_few
from client.store.derived_files import StandIns
from client.store.patient_budget import PatientBudget
from client.store.site_db import site_db
from client.workspace import Workspace
from common.evaluation.canaries import (
    Answers,
    CanaryAudit,
    Held,
    audit_totals,
    canaries_of,
)
from common.evaluation.level_areas import LevelAreas
from common.evaluation.release_audit import ReleaseAudit, determined_patients, smallest_set
from common.messages.plain import from_tree, to_tree
from common.statistics.base import Rows
from common.study.strata import TABLE, strata_columns
from common.study.sums import subsets_of
from common.transforms.views import leaves_rows_out, materialise


class PlantedTables:
    """Base tables of made-up patients in place of the hospital's.

    Parameters
    ----------
    seed : of all that is drawn.
    fold : that they are in; -1 = the first.

    Attributes
    ----------
    fitted_on : the hospital's own tables, from which a step takes what is the hospital's.
    """

    def __init__(self, tables: SiteTables, seed: int, fold: int) -> None:
        self.fitted_on = tables
        self._tables, self._seed, self._fold = tables, seed, fold

    def read(self, name: str, subset: str) -> Rows:
        """Return the canaries' rows of a table; KeyError where the hospital has none."""
        own = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
        return canaries_of(self._tables.read(name, subset), (self._seed, own), self._fold)


def audit_canaries(workspace: Workspace) -> CanaryAudit | None:
    """Measure what decoders find in the totals of the run; None where the site derives nothing.

    The figures of a run are measured once, and repeated where they are asked for again.
    """
    study, draft = workspace.study, workspace.draft
    trains = workspace.name in study.training_sites
    if not (trains and workspace.settings.verify and study.derivable):
        return None
    told = draft.fact("canaries", workspace.run)
    if told is not None:
        tree = json.loads(told)
        found: CanaryAudit = from_tree(tree, [])
        return found
    seed = int.from_bytes(hashlib.sha256(f"{study.digest()} {workspace.name}".encode()).digest())
    totals = AuditedTotals(workspace.run_tables.folder)
    held = [
        _held(workspace, seed, one) for one in totals.all() if not leaves_rows_out(one.item.view)
    ]
    if not held:
        return None
    guarded = study.privacy.mode == "guarded"
    limit = study.selection.clip if guarded else math.inf
    audit = audit_totals(held, limit, workspace.privacy.min_cell, answered_again(workspace))
    draft.fix("canaries", workspace.run, json.dumps(to_tree(audit)[0]))
    for name, own in vars(audit).items():
        if own.searched:
            LOG.info(
                "site %s: its own attack (%s) on %d totals of this run finds %d of %d made-up"
                " patients that it planted in copies, %d by chance alone; of its %d patients at"
                " most %d",
                *(workspace.name, name, own.searched, own.found, own.planted, own.chance),
                *(own.patients, own.patients_found),
            )
    return audit


def answered_again(workspace: Workspace) -> Answers:
    """Return what the rule for changed cohorts would let through, after all releases so far."""
    memberships = Memberships(workspace.settings.work)
    earlier = memberships.earlier()
    patients = [p.patient_id for p in workspace.cohort.subset(workspace.study, SUBSET)]
    (newcomer,) = memberships.of(["a canary"]).members
    hidden = [memberships.of([one]).members for one in patients]
    now = frozenset().union(*hidden)
    left = [not changed_by_few(earlier, now - own) for own in hidden]
    return Answers(
        joined=not changed_by_few(earlier, now | {newcomer}), left=np.array(left, dtype=bool)
    )


def _held(workspace: Workspace, seed: int, kept: AuditedTotal) -> Held:
    def planted(fold: int) -> Rows:
        return materialise(kept.item.view, PlantedTables(workspace.tables, seed, fold), SUBSET)

    return Held(kept.total, partial(materialise, kept.item.view, workspace.tables, SUBSET), planted)


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
