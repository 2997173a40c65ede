"""Engines say what is missing before they start anything."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

import sim.engines.flower
from common.errors import StudyError
from sim.engines.flower import run_flower


def test_flowers_simulation_without_ray_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_ray(name: str) -> object:
        return None if name == "ray" else find_spec(name)

    monkeypatch.setattr(sim.engines.flower, "find_spec", without_ray)
    with pytest.raises(StudyError, match="Ray") as found:
        run_flower({}, {}, tmp_path / "out")
    assert "fedlnm[sim]" in found.value.remedy
    assert not (tmp_path / "out").exists()
