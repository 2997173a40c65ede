"""A coordinator whose program lies about a network's training, in a real deployment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.attacks.lies import LIES_OF_TRAINING


@pytest.fixture(scope="module", autouse=True)
def hospitals(network_stage: Any) -> Iterator[None]:
    """All hospitals, over all runs."""
    with network_stage.sites():
        yield


@pytest.mark.parametrize("lie", LIES_OF_TRAINING)
def test_a_made_up_training_ends_the_run_at_every_hospital(network_stage: Any, lie: str) -> None:
    assert network_stage.stopped_by_all(lie, "not_derived").startswith("phase dl2d, ")
