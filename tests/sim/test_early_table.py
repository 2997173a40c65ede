"""The federated results are on the screen while the references still run."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

from common.durable import alone
from tests.sim.test_tabular_study import run_command

PATIENCE_SECONDS = 240.0


def test_the_federated_table_appears_while_a_reference_is_held_back(
    tabular: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = run_command(tabular, out, "--reference", "pooled")
    # no run of the imagined hospital gets past its ledger while another process holds it
    with alone(out / "references" / "pooled" / "work" / "ledger.lock"):
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        timer = Timer(PATIENCE_SECONDS, process.kill)
        timer.start()
        assert process.stdout is not None
        lines = iter(process.stdout)
        early = list(_through("the references go on", lines))
    rest = list(lines)
    timer.cancel()
    assert process.wait() == 0, "".join(early + rest)

    before, table = _cut_at_table(early)
    assert any("federated" in line and "finished" in line for line in before)
    assert "Federated (95% CI)" in table[1] and "Pooled" not in table[1]
    assert sum("Clinical" in line for line in table) == 2  # internal and external_1
    # nothing of a run's progress stands between the rows
    assert not any(" s  " in line for line in table)

    progress, whole = _cut_at_table(rest)
    assert any("pooled" in line and "finished" in line for line in progress)
    assert "Pooled" in whole[1]
    assert whole[-1].startswith("report: ")


def test_without_references_the_table_is_shown_once(tabular: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        run_command(tabular, tmp_path / "run"),
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.stdout.count("Federated (95% CI)") == 1
    assert "the references go on" not in done.stdout


def _through(words: str, lines: Iterator[str]) -> Iterator[str]:
    """Lines up to the first that holds these words, or to the end."""
    for line in lines:
        yield line
        if words in line:
            return


def _cut_at_table(lines: list[str]) -> tuple[list[str], list[str]]:
    """Lines before the one table among them, and from its title on, empty ones left out."""
    (title,) = (n for n, line in enumerate(lines) if "Area under the ROC curve" in line)
    return lines[:title], [line for line in lines[title:] if line.strip()]
