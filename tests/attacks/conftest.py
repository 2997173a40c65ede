"""Fixtures that the attacks of a coordinator share."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.study.model import Study
from sim.engines.inprocess import SERVER_NODE, task_identity
from tests.attacks.sums import begun, totals


@pytest.fixture
def server_identity() -> Iterator[None]:
    with task_identity(SERVER_NODE):
        yield


@pytest.fixture
def declares_dl3d(monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies of tables alone that train a 3D network all the same: here nobody reads an image."""
    monkeypatch.setattr(Study, "networks", property(lambda study: ("dl3d",)))


@pytest.fixture(scope="session")
def coordinator() -> Any:
    """The module beside this file: a coordinator that listens and may lie."""
    file = Path(__file__).with_name("coordinator.py")
    spec = importlib.util.spec_from_file_location("coordinator", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def hospitals(tabular: Path) -> Path:
    """One more hospital."""
    shutil.copytree(tabular / "b", tabular / "d")
    return tabular


@pytest.fixture
def everyone(coordinator: Any, hospitals: Path) -> Any:
    """The study of four."""
    return coordinator.rehearse(hospitals, sites="abcd")


@pytest.fixture
def before(everyone: Any, server_identity: None) -> dict[str, Any]:
    """A sum that all four gave, today."""
    return totals(begun(everyone, "first"))
