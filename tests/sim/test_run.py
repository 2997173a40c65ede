"""A simulation shows its results early and prepares its hospitals in few processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

import pytest
from rich.console import Console

from client.imaging.workers import BoundedPool
from client.site import SiteSettings
from common.study.model import Study, load_study
from common.utils.durable import alone
from sim import run
from sim.sites import place_sites, with_identities

PATIENCE_SECONDS = 300.0


def test_the_federated_table_appears_while_a_reference_is_held_back(
    tabular: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "sim", "run", str(tabular / "study.toml"), "--sites"]
    command += [str(tabular / name) for name in ("a", "b", "c")]
    command += ["--out", str(out), "--reference", "pooled", "--cache", str(tmp_path / "cache")]
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


def test_hospitals_with_the_same_bounds_share_the_processes_that_prepare(
    tabular: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = load_study(tabular / "study.toml")
    (tabular / "c" / "site.toml").write_text('name = "c"\nmemory_gib = 2.0\n', encoding="utf-8")
    data = {name: tabular / name for name in "abc"}
    sites = place_sites(data, tmp_path / "run", tmp_path / "cache", exclude_bad_patients=False)
    used: dict[str, BoundedPool] = {}

    def keep(
        settings: SiteSettings, study: Study, console: Console, pool: BoundedPool
    ) -> tuple[int, int]:
        used[settings.name] = pool
        return 1, 0

    monkeypatch.setattr(run, "prepare_site", keep)
    run.prepare_all(sites, with_identities(study), Console(quiet=True))
    assert used["a"] is used["b"] is not used["c"]
    assert (used["a"].memory_gib, used["c"].memory_gib) == (8.0, 2.0)


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
