"""A coordinator whose program lies, in a real deployment: every hospital stops it by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from client.store.site_db import site_db
from tests.attacks.lies import LIES, LIES_OF_TRAINING, OTHER_ENROLMENTS, WITHOUT_A_SITE
from tests.deployment.stage import until

# the hand-out of the final models comes at the end of a whole run
SOON = [lie for lie in LIES if lie != "the cells of the test sets"]
OF_SUMS = [*SOON, WITHOUT_A_SITE]
AT_ENROLMENT = "phase enrolment, question 0"
SIDE_BY_SIDE = 4


@pytest.fixture(scope="module")
def runs(network_stage: Any) -> Iterator[dict[str, Any]]:
    """All lies, each in a study of its own, some of them side by side at the same hospitals."""
    sums = [(lie, {"base_models": ["clinical"]}) for lie in (*OF_SUMS, OTHER_ENROLMENTS)]
    told, found = [*sums, *((lie, {}) for lie in LIES_OF_TRAINING)], dict[str, Any]()
    with network_stage.sites():
        while some := dict(told[len(found) :][:SIDE_BY_SIDE]):
            with network_stage.lying(some) as lying:
                assert [run.screen.ends() for run in lying.values()] == [1] * len(lying)
            found |= lying
        yield found


def stopped_by_all(stage: Any, run: Any) -> str:
    """Return the phase and question at which every hospital stopped a run, and said why."""
    where: str = run.stopped_at("not_derived")
    for site, screen in stage.screens.items():
        memory, name = site_db(stage.work(site)), f"{run.folder.name}/stopped"
        until(lambda m=memory, n=name: m.fact("derivation", n) is not None, f"{site} stops it")
        why = str(memory.fact("derivation", name))
        assert re.match(r"phase \w+, question \d+: ", why), why
        screen.says(f"site {site}: {' '.join(why.split())}")
    return where


@pytest.mark.parametrize("lie", OF_SUMS)
def test_a_lie_ends_the_run_at_every_hospital_with_phase_and_number(
    network_stage: Any, runs: dict[str, Any], lie: str
) -> None:
    assert stopped_by_all(network_stage, runs[lie]) != AT_ENROLMENT


@pytest.mark.parametrize("lie", LIES_OF_TRAINING)
def test_a_made_up_training_ends_the_run_at_every_hospital(
    network_stage: Any, runs: dict[str, Any], lie: str
) -> None:
    assert stopped_by_all(network_stage, runs[lie]).startswith("phase dl2d, ")


def test_different_enrolments_end_the_run_at_every_hospital(
    network_stage: Any, runs: dict[str, Any]
) -> None:
    assert runs[OTHER_ENROLMENTS].stopped_at("other_enrolments") == AT_ENROLMENT
    for site, screen in network_stage.screens.items():
        screen.says(f"site {site}: {AT_ENROLMENT}: ")
