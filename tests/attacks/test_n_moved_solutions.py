"""A coordinator that moves solutions within what may differ between processors is counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.gate import verifier
from common.errors import SiteError
from common.learning.agreement import TOLERANCE
from common.learning.lasso import LassoChoice
from common.messages.exchanges import EvaluateReply
from server.federation.federation import Federation

EVERYBODY = ("a", "b", "c")


@pytest.fixture
def moved_solutions(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let the coordinator go on with other coefficients than those of its solver."""
    honest = Federation.agreed

    def move(share: float) -> None:
        def agreed(self: Federation, name: str, value: Any, measure: Any) -> Any:
            if isinstance(value, LassoChoice):
                value = replace(value, coefficients=value.coefficients * (1.0 + share * TOLERANCE))
            return honest(self, name, value, measure)

        monkeypatch.setattr(Federation, "agreed", agreed)

    return move


def stand_ins(grid: Any) -> list[int]:
    replies = [heard.reply for heard in grid.heard if isinstance(heard.reply, EvaluateReply)]
    return [reply.releases.stand_ins for reply in replies]


@pytest.mark.parametrize(("share", "taken"), [(0.0, 0), (1e-5, 6)])
def test_solutions_that_are_not_its_own_are_counted_in_the_results(
    share: float,
    taken: int,
    tabular: Path,
    tmp_path: Path,
    coordinator: Any,
    server_identity: None,
    moved_solutions: Any,
) -> None:
    trial = coordinator.rehearse(tabular, verifying=EVERYBODY)
    moved_solutions(share)
    assert stand_ins(trial.run(tmp_path / "out")) == [taken] * 3


def test_a_coordinator_that_uses_up_what_solutions_may_differ_by_is_stopped(
    tabular: Path,
    tmp_path: Path,
    coordinator: Any,
    server_identity: None,
    moved_solutions: Any,
    caplog: Any,
) -> None:
    trial = coordinator.rehearse(tabular, verifying=EVERYBODY)
    moved_solutions(0.9)  # each of them is allowed
    with pytest.raises(SiteError, match=r"phase clinical, question \d+.*\(not_derived"):
        trial.run(tmp_path / "out")
    assert "each of the coordinator's 5 solutions may stand in" in caplog.text


def test_without_a_limit_on_all_of_them_together_it_goes_on(
    tabular: Path,
    tmp_path: Path,
    coordinator: Any,
    server_identity: None,
    moved_solutions: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verifier, "MOST_APART", np.inf)
    trial = coordinator.rehearse(tabular, verifying=EVERYBODY)
    moved_solutions(0.9)
    assert stand_ins(trial.run(tmp_path / "out")) == [6] * 3
