from __future__ import annotations

from typing import Any

import pytest

from common.html.drawing import Drawing
from server.report.figures import draw_figures
from server.report.results import Results, parse
from tests.fixtures import synthetic_results


@pytest.fixture
def tree() -> dict[str, Any]:
    """A whole made-up study; every test may change its own copy."""
    return synthetic_results.build()


@pytest.fixture(scope="session")
def whole() -> Results:
    return parse(synthetic_results.build())


@pytest.fixture(scope="session")
def drawings(whole: Results) -> list[Drawing]:
    return draw_figures(whole)


@pytest.fixture(scope="session")
def tabular() -> Results:
    return parse(synthetic_results.tabular())
