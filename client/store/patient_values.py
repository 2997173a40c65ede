"""Values of a site's patients as they were when sums of them left.

Two sums over the same patients of whom one has another value in between differ by this patient's
whole row: a matrix of products has it in the row of the changed column, and the sums of a class in
those of the changed label. It takes no correction: a study that calls "45" a missing age, or puts
one level of a scale elsewhere, changes the values of the patients concerned.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from client.data.cohort import Patient
from client.store.cohorts import SMALLEST_CHANGE, Memberships
from client.store.site_db import site_db
from common.study.model import MOST_FOLDS, Study

if TYPE_CHECKING:
    from client.imaging.prepared import PreparedImages

_SHORT = 16
_NAME = "patients"
Column = dict[str, str]
"""Keyed digest of the value by that of the patient."""


@dataclass(frozen=True)
class Values:
    """Keyed digests of values by column and patient."""

    columns: dict[str, Column]

    @property
    def text(self) -> str:
        """JSON, whose digest names them."""
        return json.dumps(self.columns, sort_keys=True)


class PatientValues:
    """The values of earlier sums of one site.

    Parameters
    ----------
    images : None = the study needs none, or they are not prepared yet.
    """

    def __init__(self, work: Path, study: Study, images: PreparedImages | None) -> None:
        self._db, self._memberships = site_db(work), Memberships(work)
        self._study, self._images = study, images

    def of(self, patients: Sequence[Patient]) -> Values:
        """Return the values that the study reads of these patients."""
        hide = self._memberships.hidden()
        columns: dict[str, Column] = {}
        for patient in patients:
            name = hide(patient.patient_id)
            for column, value in self._read(patient).items():
                digest = hide(json.dumps([column, value]))
                columns.setdefault(column, {})[name] = digest[:_SHORT]
        return Values(columns)

    def _read(self, patient: Patient) -> dict[str, object]:
        found: dict[str, object] = {"label": patient.label}
        grid = self._study.follow_up
        if grid is not None and patient.period is not None:
            found["time"] = grid.ends[patient.period]
        for column in self._study.clinical:
            value = patient.clinical[column.name]
            if value != value:
                found[f"clinical/{column.name}"] = None
            elif column.kind in ("binary", "categorical"):
                # the order of these levels changes no column of a table
                found[f"clinical/{column.name}"] = column.levels[int(value)]
            else:
                found[f"clinical/{column.name}"] = value
        if patient.scanner:
            found["scanner"] = patient.scanner
        files = self._images.files_of(patient) if self._images is not None else {}
        return {**found, **{f"contour/{reading}": one for reading, one in files.items()}}

    def changed_by_few(self, values: Values) -> bool:
        """Say whether a sum over these values gives a few patients away by subtraction."""
        if self._db.fact("values", _fact(values)) is not None:
            return False
        earlier = (_parsed(text) for text in self._db.facts("values", _NAME))
        return any(few_changed(one, values) for one in earlier)

    def keep(self, values: Values) -> None:
        """Remember values; part of what a release remembers."""
        self._db.fix("values", _fact(values), values.text)

    def dealt_otherwise(self, patients: Sequence[Patient]) -> bool:
        """Say whether the study's seed has dealt these patients to another number of folds.

        `client.store.cohorts` keeps folds while their number is the same. Of another number, some
        together differ from those of before by the few patients who changed places.
        """
        seed, own = self._study.seed, self._study.folds
        members = self._memberships.of(patient.patient_id for patient in patients).digest
        others = (f"{seed}/{folds}/{members}" for folds in range(MOST_FOLDS + 1) if folds != own)
        return any(self._db.fact("dealing", name) is not None for name in others)


def few_changed(before: Values, now: Values, smallest_change: int = SMALLEST_CHANGE) -> bool:
    """Say whether a column of both is another one for a few patients.

    Patients who came or went count too: a correction is hidden among them.

    Examples
    --------
    >>> before = Values({"label": {"a": "0", "b": "1"}, "clinical/age": {"a": "3", "b": "4"}})
    >>> few_changed(before, Values({"label": {"a": "0", "b": "1"}}))
    False
    >>> few_changed(before, Values({"label": {"a": "0", "b": "0"}}))
    True
    """
    for name in before.columns.keys() & now.columns.keys():
        old, new = before.columns[name], now.columns[name]
        both = old.keys() & new.keys()
        changed = sum(old[patient] != new[patient] for patient in both)
        if changed and changed + len(old.keys() ^ new.keys()) < smallest_change:
            return True
    return False


def _fact(values: Values) -> str:
    return f"{_NAME}/{hashlib.sha256(values.text.encode()).hexdigest()}"


@lru_cache(maxsize=16)
def _parsed(text: str) -> Values:
    return Values(json.loads(text))
