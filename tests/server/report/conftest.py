from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.figures.drawing import Drawing
from server.report.figures import draw_figures
from server.report.results import Results, parse

FIXTURE = Path(__file__).parents[2] / "fixtures" / "synthetic_results.py"


@pytest.fixture(scope="session")
def fixture_module() -> dict[str, Callable[[], dict[str, Any]]]:
    return runpy.run_path(str(FIXTURE))


@pytest.fixture
def tree(fixture_module: dict[str, Callable[[], dict[str, Any]]]) -> dict[str, Any]:
    """A whole made-up study; every test may change its own copy."""
    return fixture_module["build"]()


@pytest.fixture(scope="session")
def whole(fixture_module: dict[str, Callable[[], dict[str, Any]]]) -> Results:
    return parse(fixture_module["build"]())


@pytest.fixture(scope="session")
def drawings(whole: Results) -> list[Drawing]:
    return draw_figures(whole)


@pytest.fixture(scope="session")
def tabular(fixture_module: dict[str, Callable[[], dict[str, Any]]]) -> Results:
    return parse(fixture_module["tabular"]())
