"""The first pass over all hospitals lists everything before any image is prepared."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from rich.console import Console

from common.study.model import Study, load_study
from server.federation.obstacles import ObstaclesError
from sim.run import prepare_all
from sim.sites import find_sites, place_sites


@pytest.fixture
def study(imaging_master: Path) -> Study:
    return load_study(imaging_master / "study.toml")


@pytest.fixture
def hospitals(imaging_master: Path, tmp_path: Path, study: Study) -> Path:
    """A copy that a test may spoil."""
    for name in study.site_names:
        shutil.copytree(imaging_master / name, tmp_path / name)
    return tmp_path


def prepare(
    hospitals: Path, study: Study, monkeypatch: pytest.MonkeyPatch, *, exclude: bool = False
) -> ObstaclesError:
    """Return the error that stops the simulation before any image is prepared."""
    monkeypatch.setattr("client.imaging.prepared.prepare", lambda *_, **__: pytest.fail("prepared"))
    data = find_sites([hospitals / name for name in study.site_names], study)
    sites = place_sites(data, hospitals / "run", hospitals / "cache", exclude_bad_patients=exclude)
    with pytest.raises(ObstaclesError) as caught:
        prepare_all(sites, study, Console(quiet=True))
    return caught.value


def edit(hospitals: Path, site: str, old: str, new: str, count: int = 1) -> None:
    path = hospitals / site / "cohort.csv"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, count), encoding="utf-8")


def first_image(hospitals: Path, site: str) -> Path:
    return min((hospitals / site / "images").iterdir())


def test_problems_of_all_hospitals_are_listed_before_an_image_is_prepared(
    hospitals: Path, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = study.site_names
    flat = sitk.GetImageFromArray(np.zeros((4, 4), np.int16))
    sitk.WriteImage(flat, str(first_image(hospitals, names[0])))
    first_image(hospitals, names[1]).unlink()
    edit(hospitals, names[2], ",train,", ",training,")
    edit(hospitals, names[3], "label", "outcome")
    error = prepare(hospitals, study, monkeypatch)
    found = {row.site: row.what for row in error.rows}
    assert "not 3-D" in found[names[0]]
    assert "missing file" in found[names[1]]
    assert 'unknown split "training"' in found[names[2]]
    assert "missing column label" in found[names[3]]
    assert len(error.rows) == 4


def test_a_threshold_is_listed_beside_a_missing_column(
    hospitals: Path, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *_, last = study.training_sites
    edit(hospitals, last, "label", "outcome")
    text = f'name = "{first}"\n[privacy]\nmin_rows = 1000\n'
    (hospitals / first / "site.toml").write_text(text, encoding="utf-8")
    error = prepare(hospitals, study, monkeypatch)
    assert {(row.site, row.rule) for row in error.rows if row.rule in ("rows", "")} == {
        (first, "rows"),
        (last, ""),
    }


def test_patients_left_out_on_the_sites_word_do_not_count(
    hospitals: Path, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = study.training_sites[0]
    edit(hospitals, site, ",train,", ",training,", count=-1)
    error = prepare(hospitals, study, monkeypatch, exclude=True)
    (row,) = error.rows
    assert "no training rows" in row.what


def test_a_long_list_of_patients_is_cut_with_how_many_there_are(
    hospitals: Path, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("client.check.first_pass.MOST_LISTED", 3)
    site = study.training_sites[0]
    edit(hospitals, site, ",train,", ",training,", count=5)
    error = prepare(hospitals, study, monkeypatch)
    assert [row.what for row in error.rows][3] == "2 more problems with patients"
    assert "fedlnm-site check" in error.rows[3].remedy
