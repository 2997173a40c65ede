"""Federated against pooled and local-only, from finished runs of the phantom: areas and seconds.

Writes its own section of results.md.

python -m bench.three_seeds RUN [RUN ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench.tables import conditions, put_section, seconds
from bench.tables import table as markdown
from server.report.reading import performance_matrix
from server.report.results import read

MODELS = ("clinical", "radiomics", "dl2d", "dl3d", "fusion_feature", "fusion_decision")
SEEDS = 3
HELD = ("dl2d", "dl3d", "fusion_decision")
TIMED = {
    "2D network": ("dl2d",),
    "3D network": ("dl3d",),
    "whole run": ("enrolment", "table1", *MODELS, "evaluation"),
}


def table(folders: list[Path], name: str) -> list[str]:
    """Rows of one test set, one line a seed and model."""
    lines = [
        "| seed | model | federated | pooled | local-only mean (range) | federated - pooled |"
        " above local | ceiling |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for folder in folders:
        results = read(folder / "results.json")
        ceiling = (results.ceiling or {}).get(name)
        for row in performance_matrix(results):
            if row.set != name or row.federated is None or row.pooled is None or row.local is None:
                continue
            federated, pooled = row.federated.auc or 0.0, row.pooled.auc or 0.0
            local = row.local
            difference = federated - pooled
            mark = "" if row.model not in HELD else ("" if abs(difference) <= 0.05 else " (!)")
            above = "yes" if federated > (local.mean or 0.0) else "no"
            lines.append(
                f"| {results.study.seed} | {row.model} | {federated:.3f} | {pooled:.3f} |"
                f" {local.mean:.3f} ({local.low:.3f}-{local.high:.3f}) | {difference:+.3f}{mark} |"
                f" {above} | {ceiling:.3f} |"
            )
    return lines


def wall_time(folders: list[Path]) -> str:
    """Seconds of the federated and of the pooled run, which `make study` runs side by side."""
    rows = []
    for folder in folders:
        results = read(folder / "results.json")
        for what, phases in TIMED.items():
            spent = [
                sum(
                    times.get(run, 0.0)
                    for phase, times in results.timing.items()
                    if phase in phases
                )
                for run in ("federated", "pooled")
            ]
            seed = str(results.study.seed)
            rows.append(
                [
                    seed,
                    what,
                    *map(seconds, spent),
                    f"{spent[0] / spent[1]:.2f}" if spent[1] else "-",
                ]
            )
    return markdown(["seed", "what", "federated, s", "pooled, s", "federated / pooled"], rows)


def main() -> None:
    """One table a test set, and one of seconds."""
    folders = [Path(argument) for argument in sys.argv[1:]]
    parts = [
        f"{name}\n\n" + "\n".join(table(folders, name))
        for name in ("external_1", "external_2", "internal")
    ]
    parts.append(f"Seconds, each run on one core. {conditions()}\n\n{wall_time(folders)}")
    section = "\n\n".join(parts)
    if len(folders) == SEEDS:
        put_section("three seeds", section)
    print(section)


if __name__ == "__main__":
    main()
