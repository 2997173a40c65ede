"""Masked studies equal unmasked ones; that they repeat themselves, `test_verified` says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests import builders
from tests.conftest import write_tabular_hospital
from tests.fixtures.programs import Finished, run_simulation

NAMES = ("a", "b", "c")


def run_study(folder: Path, out: Path) -> Finished:
    return run_simulation(folder, NAMES, out, "--cache", out.parent / "cache")


def findings(folder: Path, out: Path) -> dict[str, Any]:
    """results.json without clock, digest and traffic."""
    done = run_study(folder, out)
    assert done.returncode == 0, done.stderr
    tree: dict[str, Any] = json.loads((out / "results.json").read_text(encoding="utf-8"))
    for key in ("timing", "run", "transfers", "warnings", "software"):
        del tree[key]
    del tree["study"]["digest"]
    del tree["settings"]["privacy"]["masking"]
    return tree


@pytest.fixture(scope="module")
def hospitals(tabular_master: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Set thresholds that every site's own part of a set meets, as unmasked sums require."""
    folder = tmp_path_factory.mktemp("hospitals") / "study"
    shutil.copytree(tabular_master, folder)
    builders.amend(folder / "study.toml", privacy={"min_per_class": 3})
    return folder


@pytest.fixture(scope="module")
def masked(hospitals: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return findings(hospitals, tmp_path_factory.mktemp("masked") / "run")


def test_masks_change_no_number_of_the_results(
    masked: dict[str, Any], hospitals: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "off"
    shutil.copytree(hospitals, folder)
    builders.amend(folder / "study.toml", privacy={"min_per_class": 3, "masking": "off"})
    found = findings(folder, tmp_path / "run")
    # without masks a site's own part of a level has to hold enough patients, so fewer are told
    # and where nothing is derived, no totals are searched for canaries
    apart = ("strata", "strata_tests", "ledger", "releases", "canaries", "calibration_fits")
    assert {k: v for k, v in found.items() if k not in apart} == {
        k: v for k, v in masked.items() if k not in apart
    }
    fits, without_masks = (
        [row for row in one["calibration_fits"] if not row["level"]] for one in (masked, found)
    )
    assert fits == without_masks and fits
    # and where nothing is masked, nothing is derived
    audits = [{**row, "stand_ins": None} for row in masked["releases"]]
    assert found["releases"] == audits


def test_the_order_of_the_sites_changes_no_number(
    masked: dict[str, Any], hospitals: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "turned"
    shutil.copytree(hospitals, folder)
    builders.amend(folder / "study.toml", sites="cab")
    found = findings(folder, tmp_path / "run")
    for key in ("performance", "delong", "table1", "selection", "roc", "calibration"):
        assert found[key] == masked[key], key


def test_two_sites_are_refused_with_a_remedy(tabular_master: Path, tmp_path: Path) -> None:
    folder = tmp_path / "two"
    shutil.copytree(tabular_master, folder)
    builders.amend(folder / "study.toml", sites="ab", visitors="c")
    done = run_study(folder, tmp_path / "run")
    assert done.returncode == 1
    assert "training has 2 site(s), and masking takes 3" in done.stderr.replace("\n", " ")
    assert "masking" in done.stderr
    builders.amend(folder / "study.toml", privacy={"masking": "where_possible"})
    done = run_study(folder, tmp_path / "run")
    assert done.returncode == 1
    assert 'write pooling = "bins"' in done.stderr.replace("\n", " ")


def test_masks_of_some_neighbours_hide_as_masks_of_all_do(tmp_path: Path) -> None:
    """Seven hospitals, each of which masks with four of the others."""
    names = tuple("abcdefg")
    for place, name in enumerate(names):
        write_tabular_hospital(tmp_path / "h" / name, name, 60 + 3 * place, 12, 0)
    changes: dict[str, Any] = {
        "sites": "abcdefg",
        "tests": {"internal": ("internal_test", "abcdefg")},
        "strata": [],
    }
    found = []
    for degree in (4, 16):
        file = builders.study_file(tmp_path / "h" / "study.toml", **builders.TABULAR | changes)
        builders.amend(file, privacy={"mask_neighbours": degree})
        out = tmp_path / f"run{degree}"
        done = run_simulation(tmp_path / "h", names, out, "--cache", tmp_path / "cache")
        assert done.returncode == 0, done.stderr
        tree = json.loads((out / "results.json").read_text(encoding="utf-8"))
        found.append({key: tree[key] for key in ("performance", "roc", "table1", "delong")})
    assert found[0] == found[1]
