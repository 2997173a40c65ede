"""Cost of more sites and larger payloads in the in-process engine.

In process, coordinator and sites share one process, and of one site at a time there are request,
change, masked change and reply. The peak of that process is therefore an upper bound of what the
coordinator needs, and has to stay the same from 4 to 64 sites.

python -m bench.sites
"""

from __future__ import annotations

from functools import partial

from bench.comparison import System, measure_once
from bench.measuring import Measured
from bench.payload import numbers_of
from bench.tables import conditions, gib, seconds, table
from bench.transport import command

# a site of 64 masks with 63 others: one round is enough for the memory, and takes minutes
SITES = (4, 16, 64)
PAYLOADS = ("1000", "100000", "1000000", "10000000", "big")
FLAT = 1.10


def measure_sites(payload: str = "big", numbers: tuple[int, ...] = SITES) -> dict[int, Measured]:
    """One round with so many sites each."""
    found = {}
    for sites in numbers:
        system = System(f"{sites} sites", partial(command, sites=sites), {payload: 1})
        found[sites] = measure_once(system, payload)
    return found


def measure_payloads() -> dict[str, Measured]:
    """Rounds of four sites with every payload."""
    found = {}
    for payload in PAYLOADS:
        rounds = 6 if numbers_of(payload) >= 10**7 else 20
        system = System("4 sites", partial(command, sites=4), {payload: rounds})
        found[payload] = measure_once(system, payload)
    return found


def text(by_sites: dict[int, Measured], by_payload: dict[str, Measured]) -> str:
    """The section of results.md."""
    peaks = [one.pss for one in by_sites.values() if not one.code]
    flat = len(peaks) == len(by_sites) and max(peaks) <= FLAT * min(peaks)
    sites = [
        [str(number), "NOT MEASURED" if one.code else gib(one.pss), seconds(one.seconds)]
        for number, one in by_sites.items()
    ]
    payloads = [
        [f"{numbers_of(name):,}", seconds(one.round), gib(one.pss)]
        for name, one in by_payload.items()
    ]
    return "\n\n".join(
        [
            "Nothing to train, masked. In process, coordinator and sites are one process, and of"
            " one site at a time there are request, change and reply: its peak is more than the"
            f" coordinator alone takes. {conditions()}",
            "One round of 46.2 million weights. Flat (the largest peak at most"
            f" {FLAT:g} times the smallest): **{'yes' if flat else 'no'}**. Up to 17 sites each"
            " masks with every other, of more with 16, one after the other here.",
            table(["sites", "peak PSS, GiB", "whole program, s"], sites),
            "Four sites, medians.",
            table(["float32 numbers", "s a round", "peak PSS, GiB"], payloads),
        ]
    )


if __name__ == "__main__":
    print(text(measure_sites(), measure_payloads()))
