"""A coordinator whose program lies, in a real deployment: every hospital stops it by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.attacks.lies import LIES, WITHOUT_A_SITE

# the hand-out of the final models comes at the end of a whole run
SOON = [lie for lie in LIES if lie != "the cells of the test sets"]


@pytest.fixture(scope="module", autouse=True)
def hospitals(stage: Any) -> Iterator[None]:
    """All hospitals, over all runs."""
    with stage.sites():
        yield


@pytest.mark.parametrize("lie", [*SOON, WITHOUT_A_SITE])
def test_a_lie_ends_the_run_at_every_hospital_with_phase_and_number(stage: Any, lie: str) -> None:
    assert stage.stopped_by_all(lie, "not_derived") != "phase enrolment, question 0"
