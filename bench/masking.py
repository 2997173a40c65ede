"""A site's time to quantise and mask, against its bounds, as a Markdown table.

python bench/masking.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from common.masking.fixed_point import to_ring
from common.masking.pairwise import R, mask_context, mask_use, mask_vector
from common.masking.update import to_ring32

REPEATS = 3
WEIGHTS = 46_000_000  # a 3D ResNet-50
COLUMNS = 1834  # radiomics features
GRAM_STEP = 2.0**-24
KEY = bytes(range(32))


def line(what: str, sites: int, bound: float, quantise: Callable[[], NDArray[R]]) -> str:
    """Best and median of the repeats; the site in the middle of the names masks."""
    names = [f"site{number:02d}" for number in range(sites)]
    own = names[sites // 2]
    keys = {name: KEY for name in names if name != own}
    context = mask_context("run", "1", "digest", what, names)
    whole, parts = [], []
    for _ in range(REPEATS):
        clock = [time.perf_counter()]
        ring = quantise()
        clock.append(time.perf_counter())
        mask_vector(ring, keys, own, context, out=ring)
        clock.append(time.perf_counter())
        mask_use("key", context, ring)
        clock.append(time.perf_counter())
        whole.append(clock[2] - clock[0])
        parts.append([after - before for before, after in pairwise(clock)])
    best, median = min(whole), statistics.median(whole)
    to_ring_time, mask_time, digest_time = parts[whole.index(best)]
    verdict = "yes" if median <= bound else "no"
    return (
        f"| {what} | {sites} | {to_ring_time:.3f} | {mask_time:.3f} | {best:.3f} | {median:.3f} |"
        f" {bound:.1f} | {verdict} | {digest_time:.3f} |"
    )


def main() -> None:
    """Print one line a case; times in seconds, parts of the best repeat."""
    generator = np.random.default_rng(1)
    change = generator.standard_normal(WEIGHTS, dtype=np.float32) * np.float32(1e-3)
    gram = generator.standard_normal(COLUMNS * (COLUMNS + 1) // 2) * 100.0
    steps = np.full(gram.size, GRAM_STEP)
    print(
        "| vector | sites | quantise | mask | best | median | bound | within |"
        " digest for the guard, besides |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for sites, bound in ((4, 2.0), (10, 4.0)):
        print(line("46 million weights", sites, bound, partial(to_ring32, change, sites=sites)))
    print(line("1834 x 1834 Gram triangle", 4, 0.2, partial(to_ring, gram, steps, 4)))


if __name__ == "__main__":
    main()
