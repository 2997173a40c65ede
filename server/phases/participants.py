"""Who took part, from the counts of the enrolment."""

from __future__ import annotations

from typing import Any

import numpy as np

from common.evaluation.suppression import suppress
from server.federation.federation import Federation


def participants(federation: Federation) -> list[dict[str, Any]]:
    """Sites with their patients and positives by set; small counts are withheld as in Table 1.

    The totals of a set are published, so a single gap among its sites could be filled: each outcome
    of a set is taken as a table with a cell a site.
    """
    study = federation.study
    counts = {
        subset: {
            site: federation.members[site].counts[subset] for site in federation.sites_with(subset)
        }
        for subset in ("train", *(test.name for test in study.test_sets))
    }
    minimum = study.privacy.min_cell
    shown = {subset: _shown(own, minimum) for subset, own in counts.items()}
    return [
        {
            "site": site.name,
            "trains": site.trains,
            "excluded": federation.members[site.name].excluded,
            "sets": {subset: own[site.name] for subset, own in shown.items() if site.name in own},
        }
        for site in study.sites
    ]


def shown_counts(n: int, positives: int, minimum: int) -> dict[str, int | None]:
    """Counts of a whole set as they may be published: small ones, and what gives them away, None.

    Parameters
    ----------
    minimum : smallest count that may be shown.
    """
    small = [0 < count < minimum for count in (n, positives, n - positives)]
    return {"n": None if small[0] else n, "positives": None if any(small) else positives}


def _shown(counts: dict[str, tuple[int, int]], minimum: int) -> dict[str, dict[str, int | None]]:
    if len(counts) < 2:
        return {site: shown_counts(n, p, minimum) for site, (n, p) in counts.items()}
    pairs = np.array(list(counts.values()), dtype=np.float64)
    outcomes = np.vstack([pairs[:, 1], pairs[:, 0] - pairs[:, 1]])
    few = [suppress(np.append(row, 0.0), minimum)[:-1] for row in outcomes]
    gone = few[0] | few[1]
    small = suppress(np.append(pairs[:, 0], 0.0), minimum)[:-1]
    return {
        site: {
            "n": None if no_n else n,
            "positives": None if no_positives or no_n else positives,
        }
        for (site, (n, positives)), no_n, no_positives in zip(
            counts.items(), small, gone, strict=True
        )
    }
