"""The levels that a site's patients were put into, which stay as they were first made.

Levels cut anew would tell by subtraction the patients that lie between two cuts. What a run is
called is the coordinator's choice, and so is under how many names a test set stands in a study:
so it is the study, and these very patients, that levels are kept for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from client.store.digest_pairs import DigestPairs
from common.ledger.entry import request_digest
from common.statistics.base import Float

FILE = "fixed-levels.txt"


class FixedLevels:
    """Of all studies of a site, over all its processes.

    Parameters
    ----------
    work : the site's work folder.
    """

    def __init__(self, work: Path) -> None:
        self._pairs = DigestPairs(work / FILE)

    def admit(self, study: str, patients: Sequence[str], codes: Float) -> bool:
        """Whether these are the levels that the patients have in this study, now or before.

        Parameters
        ----------
        study : its digest.
        codes : (patients, strata), number of the level; NaN = none.
        """
        order = np.argsort(np.array(patients, dtype=np.str_))
        told = np.nan_to_num(np.asarray(codes, dtype=np.float64)[order], nan=-1.0)
        names = "\n".join([study, *sorted(patients)])
        key, levels = hashlib.sha256(names.encode()).hexdigest(), request_digest(told)
        with self._pairs.exclusive():
            known = dict(reversed(self._pairs.new())).get(key)
            if known is None:
                self._pairs.add([(key, levels)])
        return known in (None, levels)
