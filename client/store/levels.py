"""Levels of a hospital's own test patients, in whatever study.

Counts by level and outcome leave a hospital for a set that it holds alone. Another study may cut a
column elsewhere, as its training patients have another median: the difference of both would be the
outcomes of the few who lie between two cuts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from client.store.cohorts import Memberships
from client.store.patient_values import Values, few_changed
from client.store.site_db import Draft
from common.statistics.base import Float


def moved_levels(
    draft: Draft, patients: Sequence[str], columns: Sequence[str], codes: Float
) -> frozenset[str]:
    """Return the columns in which a few patients had other levels before; remember the others.

    Parameters
    ----------
    codes : (patients, columns), number of the level; NaN = none.
    """
    hide = Memberships(draft.db.path.parent).hidden()
    known, found = [hide(patient) for patient in patients], set()
    for name, own in zip(columns, codes.T.tolist(), strict=True):
        now = Values({name: dict(zip(known, map(str, own), strict=True))})
        kept = f"cut {hide(name)}"
        if any(few_changed(Values(json.loads(t)), now) for t in draft.db.facts("levels", kept)):
            found.add(name)
            continue
        digest = hashlib.sha256(now.text.encode()).hexdigest()
        draft.fix("levels", f"{kept}/{digest}", now.text)
    return frozenset(found)
