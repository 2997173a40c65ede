from __future__ import annotations

from collections.abc import Iterator

import pytest

from sim.engines.inprocess import SERVER_NODE, task_identity


@pytest.fixture(autouse=True)
def server_identity() -> Iterator[None]:
    with task_identity(SERVER_NODE):
        yield
