"""Measures everything, and writes it into bench/results.md.

python -m bench.all [--only PART ...] [--repeats N]

Nothing else should run on the machine meanwhile. Each part writes its own section, so that an
interrupted run leaves what it has measured.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable

from bench import deployment, peers, radiomics, sites, transport
from bench.comparison import Figures, say
from bench.tables import RESULTS, ROOT, conditions, put_section

PARTS = ("masking", "transport", "peers", "sites", "deployment", "radiomics")


class Bench:
    """The parts; ours are measured once, for the bounds and for the comparison with the peers.

    Parameters
    ----------
    repeats : of every system; the tables have medians.
    """

    def __init__(self, repeats: int) -> None:
        self._repeats = repeats
        self._ours: list[Figures] = []

    def part(self, name: str) -> str:
        """Measure a part; its section."""
        parts: dict[str, Callable[[], str]] = {
            "masking": self._masking,
            "transport": self._transport,
            "peers": self._peers,
            "sites": self._sites,
            "deployment": self._deployment,
            "radiomics": self._radiomics,
        }
        return parts[name]()

    def _masking(self) -> str:
        command = [sys.executable, "-m", "bench.masking"]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        return f"Seconds of one site. {conditions()}\n\n{done.stdout}"

    def _transport(self) -> str:
        self._ours = transport.measure_ours(self._repeats)
        return transport.text(self._ours)

    def _peers(self) -> str:
        ours = self._ours or transport.measure_ours(self._repeats)
        return peers.text(ours, peers.measure_peers(self._repeats))

    def _sites(self) -> str:
        return sites.text(sites.measure_sites(), sites.measure_payloads())

    def _deployment(self) -> str:
        return deployment.text(deployment.measure_deployment())

    def _radiomics(self) -> str:
        return radiomics.text(radiomics.measure(radiomics.cases()))


def main() -> None:
    """Parts in order; each is shown and written down as it ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    bench = Bench(options.repeats)
    for name in PARTS:
        if name in options.only:
            say(f"-- {name}")
            section = bench.part(name)
            put_section(name, section)
            print(section, end="\n\n", flush=True)
    print(f"written to {RESULTS.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
