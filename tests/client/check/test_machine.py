"""Room on disk, memory, device and clock."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from time import time

import numpy as np
import pytest

from client.check import machine
from client.check.finding import Finding
from client.check.machine import (
    check_clock,
    check_device,
    check_disk,
    check_memory,
    check_privacy,
    memory_there,
    needed_in_cache,
    needed_in_work,
)
from client.site import SiteSettings
from common.study.model import Study, load_study


@pytest.fixture
def study(imaging_master: Path) -> Study:
    return load_study(imaging_master / "study.toml")


@pytest.fixture
def settings(tmp_path: Path) -> SiteSettings:
    return SiteSettings(
        name="a", data=tmp_path, work=tmp_path / "new" / "work", cache=tmp_path / "new" / "cache"
    )


def free(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    usage = shutil.disk_usage("/")._replace(free=count)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage)


@pytest.mark.parametrize(("share", "severity"), [(0.9, "problem"), (1.2, "warning"), (2.0, "ok")])
def test_too_little_disk_is_found_before_it_is_full(
    study: Study,
    settings: SiteSettings,
    monkeypatch: pytest.MonkeyPatch,
    share: float,
    severity: str,
) -> None:
    needed = needed_in_cache(study, 30, 40) + needed_in_work(study, 30)
    free(monkeypatch, int(share * needed))
    (row,) = check_disk(study, settings, 30, 40)
    assert row.severity == severity
    assert "needed for crops, features and tables" in row.what


def test_what_the_cache_holds_is_not_needed_again(
    study: Study, settings: SiteSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = needed_in_cache(study, 30, 40)
    (settings.cache / "ab").mkdir(parents=True)
    with (settings.cache / "ab" / "cd.npz").open("wb") as file:
        file.truncate(needed)
    free(monkeypatch, 2 * needed_in_work(study, 30))
    (row,) = check_disk(study, settings, 30, 40)
    assert row.severity == "ok"


def test_folders_that_others_can_get_into_are_found(
    settings: SiteSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = check_privacy(settings)
    assert row.severity == "ok", "neither is there yet"
    settings.work.mkdir(parents=True)
    settings.cache.mkdir(mode=0o700)
    settings.work.chmod(0o750)
    (row,) = check_privacy(settings)
    assert (row.severity, row.where) == ("warning", str(settings.work))
    assert "mode 0750" in row.what
    assert row.remedy == f"chmod 700 {settings.work}"
    monkeypatch.setattr(machine.os, "geteuid", lambda: settings.work.stat().st_uid + 1)
    (row,) = check_privacy(settings)
    assert row.severity == "problem"
    assert "this user's own" in row.remedy


def test_needs_on_disk_cover_what_a_preparation_writes(
    study: Study, imaging_master: Path, tmp_path: Path
) -> None:
    from client.data.cohort import read_cohort
    from client.imaging.prepared import prepare_images

    patients = read_cohort(imaging_master / "harbour", "harbour", study).patients[:2]
    settings = SiteSettings(name="harbour", cache=tmp_path / "cache", workers=1)
    prepare_images(patients, settings, study)
    written = sum(file.stat().st_size for file in (tmp_path / "cache").rglob("*.npz"))
    assert 0.3 * needed_in_cache(study, 2, 2) < written < needed_in_cache(study, 2, 2)


def test_memory_is_compared_with_what_the_machine_has(
    study: Study, settings: SiteSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(there: int, gib: float | None) -> list[tuple[str, str]]:
        monkeypatch.setattr(machine, "memory_there", lambda: there)
        return [(r.where, r.severity) for r in check_memory(study, settings, 20, gib)]

    assert rows(2**36, 1.0) == [
        ("training dl2d", "ok"),
        ("training dl3d", "ok"),
        ("preparing images", "ok"),
    ]
    assert {severity for _, severity in rows(2**28, 1.0)} == {"problem"}
    assert rows(2**36, 9.0)[2] == ("preparing images", "warning"), "memory_gib allows 8"
    assert rows(2**32, 1.0)[2] == ("preparing images", "warning"), "memory_gib is more than all"
    assert rows(2**36, None)[2] == ("preparing images", "not checked")


def test_the_memory_of_this_machine_is_known() -> None:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < memory_there() <= pages


def test_a_container_has_the_memory_of_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machine, "MEMORY_LIMITS", (str(limit),))
    whole = memory_there()
    limit.write_text("1000000\n", encoding="ascii")
    assert memory_there() == 1_000_000
    limit.write_text("max\n", encoding="ascii")
    assert memory_there() == whole


def test_more_threads_than_cores_are_a_warning(study: Study) -> None:
    (row,) = check_device(study, SiteSettings(name="a", threads=10_000))
    assert row.severity == "warning"
    (row,) = check_device(study, SiteSettings(name="a"))
    assert row.severity == "ok"
    assert "trained on the CPU" in row.what


def test_a_graphics_card_that_is_not_there_is_a_problem(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (row,) = check_device(study, SiteSettings(name="a", device="cuda"))
    assert row.severity == "problem"
    assert "torch sees 0 graphics card(s)" in row.what
    assert "CUDA build of torch" in row.remedy
    assert "problem" not in {
        r.severity for r in check_memory(study, SiteSettings(name="a", device="cuda"), 20, None)
    }


@pytest.mark.parametrize(("days", "severity"), [(-1, "ok"), (2, "problem")])
def test_files_from_the_future_tell_of_a_clock_that_is_behind(
    settings: SiteSettings, days: int, severity: str
) -> None:
    path = settings.data / "cohort.csv"
    path.write_text("", encoding="utf-8")
    os.utime(path, (time() + days * 86_400,) * 2)
    rows: list[Finding] = list(check_clock(settings, None))
    assert [row.severity for row in rows] == [severity, "not applicable"]
    assert np.all(["[deployment]" in row.what for row in rows[1:]])
