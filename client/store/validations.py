"""Memory of whom earlier validation files were about.

A validation is no exchange of a study, so no ledger has it. Two files over nearly the same patients
differ by the numbers of those in whom they differ, as two sums of a study do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from client.data.cohort import Patient
from client.store.cohorts import SMALLEST_CHANGE, Memberships, changed_by_few
from client.store.patient_values import PatientValues, Values, few_changed
from client.store.site_db import site_db
from common.errors import InputError
from common.study.model import Study

_FILES = "files"


class Validations:
    """Patients of earlier files, and of a site's studies.

    Parameters
    ----------
    work : a site's work folder, or a folder that remembers validations alone.
    """

    def __init__(self, work: Path, study: Study) -> None:
        self._db, self._memberships = site_db(work), Memberships(work)
        self._values = PatientValues(work, study, None)

    def check(self, patients: Sequence[Patient], *, not_sent: bool) -> None:
        """Return if a file over these patients gives nobody away beside what is known of them.

        Parameters
        ----------
        not_sent : whether no earlier file has left the hospital.

        Raises
        ------
        InputError : a few came, went, or have another value.
        """
        now = self._values.of(patients)
        before = self._memberships.earlier()
        if changed_by_few(before, _members(now)) or self._values.changed_by_few(now):
            raise _refused("a study that this site answered", "give the patients of that study")
        files = [] if not_sent else list(self._earlier())
        moved = changed_by_few([*before, *map(_members, files)], _members(now))
        if moved or any(few_changed(one, now) for one in files):
            raise _refused(
                "an earlier validation file",
                "send the earlier file alone; if none has left the hospital, add --not-sent",
            )

    def keep(self, patients: Sequence[Patient]) -> None:
        """Remember whom a file is about."""
        text = self._values.of(patients).text
        digest = hashlib.sha256(text.encode()).hexdigest()
        self._db.fix("validation", f"{_FILES}/{digest}", text)

    def _earlier(self) -> Iterator[Values]:
        for text in self._db.facts("validation", _FILES):
            yield Values(json.loads(text))


def _members(values: Values) -> frozenset[str]:
    return frozenset(values.columns.get("label", {}))


def _refused(before: str, remedy: str) -> InputError:
    return InputError(
        f"these are nearly the patients of {before}: both together would tell about those in whom"
        f" they differ, fewer than {SMALLEST_CHANGE}",
        where="--cohort",
        remedy=remedy,
    )
