"""State of a site when the gate checks a reply."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.gate.schema import GateContext
from common.study.model import Study, load_study
from sim.sites import place_sites, with_identities


@pytest.fixture
def study(tabular_master: Path) -> Study:
    return with_identities(load_study(tabular_master / "study.toml"))


@pytest.fixture
def context(study: Study) -> GateContext:
    return GateContext(site="c", study=study, privacy=study.privacy, software={"python": "3.11.7"})


@pytest.fixture
def site(tabular: Path) -> Path:
    """site.toml of one hospital with a table, placed as a simulation places it."""
    placed = place_sites(
        {"a": tabular / "a"}, tabular / "run", tabular / "cache", exclude_bad_patients=False
    )
    return placed["a"]
