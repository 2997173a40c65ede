"""Federated against pooled and local-only, as a Markdown table, from finished runs of the phantom.

python bench/three_seeds.py RUN [RUN ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

from server.report.reading import performance_matrix
from server.report.results import read

MODELS = ("clinical", "radiomics", "dl2d", "dl3d", "fusion_feature", "fusion_decision")
HELD = ("dl2d", "dl3d", "fusion_decision")


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


def main() -> None:
    """Print one table a test set."""
    folders = [Path(argument) for argument in sys.argv[1:]]
    for name in ("external_1", "external_2", "internal"):
        print(f"\n{name}\n")
        print("\n".join(table(folders, name)))


if __name__ == "__main__":
    main()
