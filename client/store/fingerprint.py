"""The cohort as it was when a run began: the steps of one run are all about the same values.

A run that goes on takes what it finished from its checkpoint. Were cohort.csv corrected in between,
one table would hold numbers of both.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from client.data.cohort import Cohort, Patient
from client.store.state import write_whole
from common.errors import InputError
from common.study.model import Study
from common.study.sums import subsets_of

if TYPE_CHECKING:
    from client.imaging.prepared import PreparedImages

_SHORT = 16


class FrozenCohort:
    """A digest of the patients that a run is about, in the run's folder at the site; never sent.

    Parameters
    ----------
    folder : of the run, within the site's work folder.
    """

    def __init__(
        self, folder: Path, study: Study, cohort: Cohort, images: PreparedImages | None
    ) -> None:
        # a run has one study; where a name serves another study, nothing is taken over
        self._path = folder / f"cohort-{study.digest()[:_SHORT]}.sha256"
        self._site, self._run = cohort.site, folder.name
        self._digest = _digest(study, cohort, images)

    def check(self) -> None:
        """Return if the run has not begun, or began with the same cohort.

        Raises
        ------
        InputError : ids, labels, splits, clinical values, images or contours are others.
        """
        if self._path.is_file() and self._path.read_text(encoding="ascii") != self._digest:
            raise InputError(
                f"the cohort changed since run {self._run} began",
                where=f"site {self._site}",
                remedy="begin a new run (in a simulation: another --out folder), or put the cohort"
                " back as it was",
            )

    def remember(self) -> None:
        """From now on the run is about this cohort alone."""
        write_whole(self._path, self._digest.encode())


def _digest(study: Study, cohort: Cohort, images: PreparedImages | None) -> str:
    """SHA-256 (hex) of what the study uses of the cohort, whatever the order of its rows."""
    subsets = subsets_of(study, cohort.site)
    used = {p.patient_id: p for subset in subsets for p in cohort.subset(study, subset)}
    rows = [_row(used[patient], images) for patient in sorted(used)]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _row(patient: Patient, images: PreparedImages | None) -> list[object]:
    files = images.files_of(patient) if images is not None else {}
    clinical = sorted(patient.clinical.items())
    return [patient.patient_id, patient.origin, patient.label, patient.split, clinical, files]
