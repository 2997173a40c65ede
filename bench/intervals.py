"""Count how often intervals of an AUC hold the truth: the reported one, DeLong's, and Newcombe's.

Scores of both classes are normal, `--draws` sets of each size and true AUC; DeLong's variance is
that of `common.statistics.placements`, worked out for all draws at once. Writes its own section of
results.md.

python -m bench.intervals [--draws 2000]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

import numpy as np
import scipy
from numpy.typing import NDArray

from bench.tables import conditions, put_section, table
from common.evaluation.delong import FEWEST_LOGIT, auc_interval, newcombe_interval, wald_interval

Array = NDArray[np.float64]
# positives and negatives: the sizes of the paper's sets and smaller ones, 42 % positive or fewer
SIZES = ((126, 174), (50, 70), (25, 95), (37, 52), (20, 24), (11, 33), (12, 60), (11, 11), (5, 8))
AREAS = (0.75, 0.9, 0.95, 0.97, 0.99)
FEWEST, BAND = 10, (0.93, 0.97)
KINDS = ("reported", "DeLong's own", "Newcombe's")


def drawn(positives: int, negatives: int, area: float, draws: int, seed: int) -> tuple[Array, ...]:
    """Return the AUC and DeLong's variance of each of the drawn sets, both (draws,)."""
    rng = np.random.default_rng(seed)
    shift = float(scipy.stats.norm.ppf(area)) * math.sqrt(2.0)
    first = rng.normal(shift, 1.0, (draws, positives))
    second = rng.normal(0.0, 1.0, (draws, negatives))
    auc, variance = np.zeros(draws), np.zeros(draws)
    for i in range(draws):
        above = (first[i][:, None] > second[i]).astype(np.float64)
        of_positive, of_negative = above.mean(axis=1), above.mean(axis=0)
        auc[i] = above.mean()
        variance[i] = of_positive.var(ddof=1) / positives + of_negative.var(ddof=1) / negatives
    return auc, variance


def coverage(positives: int, negatives: int, area: float, draws: int) -> list[float]:
    """Return the share of sets whose interval holds the true area, by kind of interval."""
    held = np.zeros(len(KINDS))
    for auc, variance in zip(*drawn(positives, negatives, area, draws, 1), strict=True):
        own = auc_interval(auc, variance, negatives, positives)
        ends = ((own.low, own.high), wald_interval(auc, variance))
        for place, (low, high) in enumerate((*ends, newcombe_interval(auc, negatives, positives))):
            held[place] += low <= area <= high
    return [float(share) for share in held / draws]


def text(draws: int) -> str:
    """Return the section."""
    rows, outside = [], [0, 0]
    for positives, negatives in SIZES:
        by_area = [coverage(positives, negatives, area, draws) for area in AREAS]
        for kind, name in enumerate(KINDS):
            found = [shares[kind] for shares in by_area]
            if kind == 0 and min(positives, negatives) >= FEWEST:
                outside[0] += sum(share < BAND[0] for share in found)
                outside[1] += sum(share > BAND[1] for share in found)
            rows.append([f"{positives} / {negatives}", name, *(f"{s:.3f}" for s in found)])
    heading: Sequence[str] = (
        "positives / negatives",
        "95 % interval",
        *(f"AUC {a}" for a in AREAS),
    )
    note = (
        f"Share of {draws} sets whose interval holds the true AUC. The reported interval is the one"
        f" on the logit, and Newcombe's with fewer than {FEWEST_LOGIT} of a class or where DeLong's"
        f" variance is zero; with at least {FEWEST} of either class {outside[0]} of its cells lie"
        f" below {BAND[0]} and {outside[1]} above {BAND[1]}. {conditions()}"
    )
    return f"{note}\n\n{table(heading, rows)}"


def main() -> None:
    """Measure, and write the section."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=2000)
    section = text(parser.parse_args().draws)
    put_section("intervals", section)
    print(section)


if __name__ == "__main__":
    main()
