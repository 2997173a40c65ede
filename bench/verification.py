"""Federated run of `make study` with one hospital that derives every question, and with none.

The two run side by side, each on a core of its own, several times; bytes and messages by exchange
are the same each time. Needs the hospitals of `make study` and their prepared images: run
`make study` before, or `fedlnm-sim run` over the same folder.

python -m bench.verification [--hospitals runs/phantom-20240101] [--cache runs/cache] [--pairs 2]
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.comparison import WORK, say
from bench.tables import ROOT, conditions, held, put_section, seconds, table
from common.study.model import load_study, write_study
from sim.jobs import Job, run_job
from sim.sites import place_coordinator, place_sites, with_identities

BOUND = 1.15
NAMES = ("with", "without")
HOSPITALS = ROOT / "runs" / "phantom-20240101"


@dataclass(frozen=True)
class Finished:
    """Seconds of one run, and its run.json."""

    wall: float
    processor: float
    results: Mapping[str, Any]

    def by_exchange(self) -> dict[str, tuple[int, int, int]]:
        """Messages, bytes down and bytes up, of all hospitals together."""
        found: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        for row in self.results["transfers"]:
            for i, key in enumerate(("messages", "bytes_down", "bytes_up")):
                found[row["exchange"]][i] += row[key]
        return {name: (a, b, c) for name, (a, b, c) in found.items()}


def run(hospitals: Path, cache: Path, out: Path, *, verified: bool) -> None:
    """Run the study in this process, and write down its seconds."""
    study = with_identities(load_study(hospitals / "study.toml"))
    data = {name: hospitals / name for name in study.site_names}
    verifying = study.training_sites[:1] if verified else ()
    sites = place_sites(data, out, cache, exclude_bad_patients=False, verifying=verifying)
    file = write_study(study, out / "input" / "study.toml")
    began = time.monotonic()
    outcome = run_job(Job("federated", file, sites, out, identity=place_coordinator(out / "input")))
    if outcome.error:
        raise SystemExit(outcome.error)
    wall = time.monotonic() - began
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    processor = sum(one.ru_utime + one.ru_stime for one in spent)
    (out / "seconds.json").write_text(json.dumps([wall, processor]), encoding="utf-8")


def measure_pair(hospitals: Path, cache: Path, work: Path) -> dict[str, Finished]:
    """Run the study with and without, side by side."""
    shutil.rmtree(work, ignore_errors=True)
    common = [sys.executable, "-m", "bench.verification", "--hospitals", str(hospitals)]
    common += ["--cache", str(cache)]
    processes = {
        name: subprocess.Popen([*common, "--run", name, str(work / name)], cwd=ROOT)
        for name in NAMES
    }
    found = {}
    for name, process in processes.items():
        if process.wait():
            raise SystemExit(f"the run {name} failed")
        wall, processor = json.loads((work / name / "seconds.json").read_text(encoding="utf-8"))
        results = json.loads((work / name / "run.json").read_text(encoding="utf-8"))
        found[name] = Finished(wall, processor, results)
    return found


def text(pairs: Sequence[Mapping[str, Finished]]) -> str:
    """Return the section: seconds and their ratios, then bytes by exchange."""
    rows = []
    for what in ("wall", "processor"):
        spent = {name: [getattr(pair[name], what) for pair in pairs] for name in NAMES}
        ratios = [a / b for a, b in zip(spent["with"], spent["without"], strict=True)]
        middle = statistics.median(ratios)
        rows.append(
            [
                f"{what}, s",
                *(seconds(statistics.median(spent[name])) for name in reversed(NAMES)),
                f"{middle:.3f} ({min(ratios):.3f} to {max(ratios):.3f})",
                held(middle, BOUND),
            ]
        )
    one = {name: pairs[0][name].by_exchange() for name in NAMES}
    exchanges = []
    for name, (messages, down, up) in one["with"].items():
        before, down_before, up_before = one["without"].get(name, (0, 0, 0))
        exchanges.append(
            [
                *(name, f"{before:,}", f"{messages:,}", _kb(down_before), _kb(down)),
                *(_kb(up_before), _kb(up)),
            ]
        )
    heading = (
        *("exchange", "messages, none derives", "one derives", "down, none derives"),
        *("down, one derives", "up, none derives", "up, one derives"),
    )
    return (
        f"Pairs of runs side by side: {len(pairs)}. {conditions()}\n\n"
        + table(("federated run", "none derives", "one derives", "ratio", f"at most {BOUND}"), rows)
        + "\n\n"
        + table(heading, exchanges)
    )


def _kb(size: int) -> str:
    return f"{size / 1000:,.1f} kB"


def main() -> None:
    """Measure, and write the section."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hospitals", type=Path, default=HOSPITALS)
    parser.add_argument("--cache", type=Path, default=ROOT / "runs" / "cache")
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--run", nargs=2, metavar=("NAME", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        name, out = options.run
        run(options.hospitals, options.cache, Path(out), verified=name == "with")
        return
    pairs = []
    for number in range(options.pairs):
        pairs.append(measure_pair(options.hospitals, options.cache, WORK / "verification"))
        say(f"pair {number + 1}: " + ", ".join(f"{n} {pairs[-1][n].wall:.0f} s" for n in NAMES))
    section = text(pairs)
    put_section("verification", section)
    print(section)


if __name__ == "__main__":
    main()
