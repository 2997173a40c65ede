"""Hospitals that several tests study: three tabular ones, four small ones with images."""

from __future__ import annotations

import csv
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from client.data.cohort import read_cohort
from client.imaging.prepared import prepare_images
from client.site import SiteSettings
from common.study.model import load_study
from tests import builders
from tests.fixtures.programs import run_simulation

# No test asserts a wall time. Where CI runs, every call draws the same examples: what fails there
# fails again when one looks into it, and a change is not refused for another's luck.
settings.register_profile("fedlnm", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("fedlnm")

IMAGING_SITES = ("north", "south", "west", "harbour")
COLUMNS = ["patient_id", "label", "split", "marker", "age", "sex", "stage"]


def write_tabular_hospital(folder: Path, name: str, train: int, tests: int, external: int) -> None:
    """One hospital whose marker tells of the label."""
    rng = np.random.default_rng([ord(letter) for letter in name])
    folder.mkdir(parents=True, exist_ok=True)
    splits = ["train"] * train + ["internal_test"] * tests + ["external_test"] * external
    with (folder / "cohort.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for index, split in enumerate(splits):
            label = int(index % 5 < 2)
            marker = rng.normal(1.2 * label, 1.0)
            age = "" if rng.random() < 0.1 else f"{rng.normal(62 + label, 8):.0f}"
            sex = "male" if rng.random() < 0.7 else "female"
            stage = str(rng.integers(1, 4))
            writer.writerow([f"{name}{index}", label, split, f"{marker:.4f}", age, sex, stage])


@pytest.fixture(scope="session")
def tabular_master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tabular")
    write_tabular_hospital(folder / "a", "a", 60, 15, 0)
    write_tabular_hospital(folder / "b", "b", 45, 12, 0)
    write_tabular_hospital(folder / "c", "c", 40, 10, 30)
    builders.study_file(folder / "study.toml", **builders.TABULAR)
    return folder


@pytest.fixture
def tabular(tabular_master: Path, tmp_path: Path) -> Path:
    """A copy of the tabular hospitals that a test may spoil."""
    shutil.copytree(tabular_master, tmp_path / "hospitals")
    return tmp_path / "hospitals"


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all processes of this call of pytest."""
    root = tmp_path_factory.getbasetemp()
    return root.parent if "PYTEST_XDIST_WORKER" in os.environ else root


@contextmanager
def made_once(folder: Path) -> Iterator[bool]:
    """Return whether the caller is the one process that makes this folder; others wait for it."""
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder.with_suffix(".made")
        yield not done.exists()
        done.touch()


@pytest.fixture(scope="session")
def imaging_master(shared_folder: Path) -> Path:
    """Four phantom hospitals with images, and a study small enough for a test."""
    folder = shared_folder / "imaging-hospitals"
    with made_once(folder) as first:
        if first:
            write_imaging_hospitals(folder)
    return folder


def write_imaging_hospitals(folder: Path) -> None:
    """Three hospitals that train and one that does not; one contoured some tumours repeatedly."""
    import tomllib

    import tomli_w

    from sim.phantom.generate import generate
    from sim.phantom.plan import HospitalPlan, PhantomPlan, Scanner

    fine, coarse = Scanner(1.0, 2.0, 0.7, 9.0, 0.0), Scanner(0.9, 2.5, 0.8, 12.0, 5.0)
    plan = PhantomPlan(
        name="test",
        hospitals=(
            HospitalPlan(
                "north", fine, "training", 0.5, train=20, internal_test=4, repeat_readings=6
            ),
            HospitalPlan("south", coarse, "training", 0.5, train=20, internal_test=4),
            HospitalPlan("west", fine, "training", 0.5, train=20, internal_test=4),
            HospitalPlan("harbour", coarse, "external1", 0.5, external_test=12),
        ),
        external_sets=(("external_1", ("harbour",)),),
        radius_mm=(5.0, 6.5),
    )
    generate(folder, seed=5, plan=plan, workers=1)
    study = tomllib.loads((folder / "study.toml").read_text(encoding="utf-8"))
    narrow = {"widths": [4, 8, 8, 16], "rounds": 2, "average_last": 0.0}
    study["dl2d"], study["dl3d"] = dict(narrow), dict(narrow)
    study["radiomics"] = {"settings": "radiomics-original", "expected_features": 105}
    study["imaging"] = {"crop2d_slices_each_side": 1}
    study["folds"] = 3
    study["fusion"] = study.get("fusion", {}) | {"trees": 10}
    # a column of each kind that Table 1 knows
    study["clinical"][0] |= {"summary": "median", "decimals": 0}
    study["clinical"][-2] |= {"summary": "median"}
    (folder / "study.toml").write_text(tomli_w.dumps(study), encoding="utf-8")


@pytest.fixture(scope="session")
def imaging_cache(imaging_master: Path, shared_folder: Path) -> Path:
    """Prepared images of those hospitals, shared by all tests."""
    folder = shared_folder / "imaging-cache"
    with made_once(folder) as first:
        if first:
            study = load_study(imaging_master / "study.toml")
            for name in IMAGING_SITES:
                data = imaging_master / name
                # here and not in processes of their own, whose start would take longer
                site = SiteSettings(name=name, data=data, cache=folder, workers=1)
                prepare_images(read_cohort(data, name, study).patients, site, study)
    return folder


@pytest.fixture(scope="session")
def imaging_run(imaging_master: Path, imaging_cache: Path, shared_folder: Path) -> Path:
    """A finished study of the hospitals with images; made once for all processes of the tests."""
    out = shared_folder / "imaging-run"
    with made_once(out) as first:
        if first:
            done = run_simulation(
                imaging_master, IMAGING_SITES, out, "--cache", imaging_cache, whole=True
            )
            assert done.returncode == 0, done.stderr + done.stdout
    return out
