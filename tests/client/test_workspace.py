"""A workspace that is kept from message to message, and opened anew when its files change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from client.site import SiteSettings
from client.workspace import when_written


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "site.toml").write_text('name = "a"\n')
    (tmp_path / "cohort.csv").write_text("patient_id\n1\n")
    return tmp_path / "site.toml"


def stricter_threshold(site: Path) -> None:
    site.write_text('name = "a"\n[privacy]\nmin_patients = 20\n')


def one_patient_fewer(site: Path) -> None:
    site.with_name("cohort.csv").write_text("patient_id\n")


@pytest.mark.parametrize("change", [stricter_threshold, one_patient_fewer])
def test_the_next_message_sees_changed_files(site: Path, change: Callable[[Path], None]) -> None:
    settings = SiteSettings(name="a", data=site.parent)
    before = when_written(site, settings)
    assert when_written(site, settings) == before
    change(site)
    assert when_written(site, settings) != before
