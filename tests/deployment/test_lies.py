"""A coordinator whose program lies, in a real deployment: every hospital stops it by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.attacks.lies import LIES, OTHER_ENROLMENTS, WITHOUT_A_SITE

# the hand-out of the final models comes at the end of a whole run
SOON = [lie for lie in LIES if lie != "the cells of the test sets"]
AT_ENROLMENT = "phase enrolment, question 0"


@pytest.fixture(scope="module", autouse=True)
def hospitals(stage: Any) -> Iterator[None]:
    """All hospitals, over all runs."""
    with stage.sites():
        yield


@pytest.mark.parametrize("lie", [*SOON, WITHOUT_A_SITE])
def test_a_lie_ends_the_run_at_every_hospital_with_phase_and_number(stage: Any, lie: str) -> None:
    assert stage.stopped_by_all(lie, "not_derived") != AT_ENROLMENT


def test_different_enrolments_end_the_run_at_every_hospital(stage: Any) -> None:
    assert stage.stopped_by_all(OTHER_ENROLMENTS, "other_enrolments") == AT_ENROLMENT
