from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from common.html.drawing import Drawing
from server.report.figures import draw_figures
from server.report.results import parse
from server.report.schema import Results
from tests.conftest import made_once
from tests.fixtures import synthetic_results


@pytest.fixture
def tree() -> dict[str, Any]:
    """A whole made-up study; every test may change its own copy."""
    return synthetic_results.build()


@pytest.fixture(scope="session")
def whole() -> Results:
    return parse(synthetic_results.build())


@pytest.fixture(scope="session")
def drawings(whole: Results, shared_folder: Path) -> list[Drawing]:
    """All figures of it, drawn by one process for all: it takes seconds."""
    file = shared_folder / "drawings.json"
    with made_once(file) as first:
        if first:
            file.write_text(json.dumps([asdict(one) for one in draw_figures(whole)]))
    return [Drawing(**one) for one in json.loads(file.read_text())]


@pytest.fixture(scope="session")
def tabular() -> Results:
    return parse(synthetic_results.tabular())
