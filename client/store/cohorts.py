"""Patients of a site's releases, runs, levels and folds, in a form that names nobody.

Patients are known by digests under a key that never leaves the site: no one else can try out ids.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from client.data.cohort import Cohort, Patient, assign_folds
from client.store.site_db import Draft, site_db
from common.disclosure.differencing import few_patients_told
from common.errors import InputError, StudyError
from common.ledger.entry import request_digest
from common.statistics.base import Float
from common.study.model import Study
from common.study.sums import subsets_of

if TYPE_CHECKING:
    from client.imaging.prepared import PreparedImages


SMALLEST_CHANGE = 10
_KEY_BYTES = 32
_SHORT = 16


@dataclass(frozen=True)
class Membership:
    """Keyed digests (hex) of the patients of one subset."""

    members: frozenset[str]

    @property
    def text(self) -> str:
        """The sorted members, one a line."""
        return "\n".join(sorted(self.members))

    @property
    def digest(self) -> str:
        """SHA-256 of the sorted members, which stands in the ledger."""
        return hashlib.sha256(self.text.encode()).hexdigest()


class Memberships:
    """The memberships of a site's releases.

    Two sums over cohorts that differ by one patient give that patient away by subtraction, so a
    cohort may change by nobody or by many.
    """

    def __init__(self, work: Path) -> None:
        self._db = site_db(work)
        self._known: dict[str, Membership] = {}

    def of(self, patient_ids: Iterable[str]) -> Membership:
        """Return the membership of these patients; neither order nor repetition matters."""
        hide = self.hidden()
        return Membership(frozenset(hide(name) for name in patient_ids))

    def hidden(self) -> Callable[[str], str]:
        """Return what makes the keyed digest (hex) of a text."""
        made = self._db.fact("membership key", "")
        made = made or self._db.fix("membership key", "", secrets.token_hex(_KEY_BYTES))
        key = bytes.fromhex(made)

        def hide(text: str) -> str:
            composed = unicodedata.normalize("NFC", text).encode()
            return hmac.new(key, composed, hashlib.sha256).hexdigest()

        return hide

    def keep(self, membership: Membership) -> str:
        """Remember a membership and return its digest; part of what its release remembers."""
        self._db.fix("membership", membership.digest, membership.text)
        return membership.digest

    def recall(self, digest: str) -> Membership:
        """Return the membership of this digest.

        Raises
        ------
        StudyError : it is not there, or no longer has the digest; then no rule can be checked.
        """
        if digest not in self._known:
            stored = self._db.fact("membership", digest)
            membership = Membership(frozenset((stored or "").split()))
            if stored is None or membership.digest != digest:
                raise StudyError(
                    "whom an earlier release was about is lost or damaged",
                    where=f"membership {digest[:_SHORT]}",
                    remedy="restore the site's work folder from its backup",
                )
            self._known[digest] = membership
        return self._known[digest]

    def earlier(self) -> list[frozenset[str]]:
        """Return the members of all earlier releases, whatever their studies called the subset."""
        return [self.recall(digest).members for digest in self._db.memberships()]


def changed_by(before: frozenset[str], now: frozenset[str]) -> int:
    """Return how many patients came or went."""
    return len(before ^ now)


def changed_by_few(
    previous: Iterable[frozenset[str]],
    now: frozenset[str],
    smallest_change: int = SMALLEST_CHANGE,
) -> bool:
    """Tell whether to refuse a release: by subtraction it gives a few patients away.

    Sets without a common patient have no difference that either does not tell by itself.

    Parameters
    ----------
    previous : members of all earlier releases; the latest alone would not do, as a cohort can
        change by many and then back by nearly as many. Sums of several are looked at together:
        all patients less those up to 60 less those from 62 on are those of 61.
    smallest_change : patients that must have come or gone, if any have.
    """
    before = tuple(previous)
    near = (one for one in before if one & now)
    if any(0 < changed_by(one, now) < smallest_change for one in near):
        return True
    return few_patients_told(before, now, smallest_change)


class CohortFingerprint:
    """The cohort as it was when a run began: the steps of one run are all about the same values.

    A run that goes on takes what it finished from its checkpoint. Were cohort.csv corrected in
    between, one table would hold numbers of both.
    """

    def __init__(
        self, draft: Draft, study: Study, run: str, cohort: Cohort, images: PreparedImages | None
    ) -> None:
        self._draft, self._site, self._run = draft, cohort.site, run
        # a run has one study; where a name serves another study, nothing is taken over
        self._name = f"{run}/{study.digest()[:_SHORT]}"
        self._digest = _digest(study, cohort, images)

    def check(self) -> None:
        """Return if the run has not begun, or began with the same cohort.

        Raises
        ------
        InputError : ids, labels, splits, clinical values, images or contours are others.
        """
        if self._draft.db.fact("cohort", self._name) not in (None, self._digest):
            raise InputError(
                f"the cohort changed since run {self._run} began",
                where=f"site {self._site}",
                remedy="begin a new run (in a simulation: another --out folder; with corrections ="
                " true in site.toml where few have changed), or put the cohort back as it was",
            )

    def remember(self) -> None:
        """Bind the run to this cohort, with the reply under way."""
        self._draft.fix("cohort", self._name, self._digest)


def _digest(study: Study, cohort: Cohort, images: PreparedImages | None) -> str:
    """Return the SHA-256 (hex) of what the study uses of the cohort, in any order of its rows."""
    subsets = subsets_of(study, cohort.site)
    used = {p.patient_id: p for subset in subsets for p in cohort.subset(study, subset)}
    rows = [_row(used[patient], images) for patient in sorted(used)]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _row(patient: Patient, images: PreparedImages | None) -> list[object]:
    files = images.files_of(patient) if images is not None else {}
    clinical = sorted(patient.clinical.items())
    ended = [] if patient.period is None else [patient.period]
    row = [patient.patient_id, patient.origin, patient.label, patient.split, clinical, files]
    return row + ended


def fix_levels(draft: Draft, study: str, patients: Sequence[str], codes: Float) -> bool:
    """Keep the levels of these patients in a study; return False where they had others before.

    Levels cut anew would reveal by subtraction the patients that lie between two cuts. The
    coordinator chooses the names of runs and test sets, so neither counts.

    Parameters
    ----------
    study : its digest.
    codes : (patients, strata), number of the level; NaN = none.
    """
    order = np.argsort(np.array(patients, dtype=np.str_))
    levels = np.nan_to_num(np.asarray(codes, dtype=np.float64)[order], nan=-1.0)
    names = "\n".join([study, *sorted(patients)])
    key = hashlib.sha256(names.encode()).hexdigest()
    return draft.fix("levels", key, request_digest(levels))


class Dealing:
    """The folds of one cohort: dealt once, and the same ever after.

    Of two dealings that differ by a few patients, a sum by fold of each would tell these by
    subtraction. So the first one stands, whatever study, run or process asks next, while seed,
    number of folds and patients are the same. Another seed deals all patients anew.

    Parameters
    ----------
    cohort : its patients are changed in place.
    """

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
