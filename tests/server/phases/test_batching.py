from __future__ import annotations

from typing import Any

from common.messages.exchanges import SumItem
from server.phases.batching import Procedure, run_together


class Adder:
    """Stands in for a federation: an item's outcome is its statistic, and messages are counted."""

    def __init__(self) -> None:
        self.messages: list[list[Any]] = []

    def sum_many(self, items: list[SumItem]) -> list[Any]:
        self.messages.append([item.statistic for item in items])
        return [item.statistic for item in items]


def asking(*steps: tuple[int, ...]) -> Procedure[list[list[int]]]:
    seen = []
    for numbers in steps:
        results = yield [SumItem(n, None, "train") for n in numbers]  # type: ignore[arg-type]
        seen.append(results)
    return seen


def test_steps_of_several_procedures_share_a_message() -> None:
    federation = Adder()
    outcome = run_together(federation, asking((1, 2), (3,)), asking((4,)))  # type: ignore[arg-type]
    assert federation.messages == [[1, 2, 4], [3]]
    assert outcome == [[[1, 2], [3]], [[4]]]


def test_procedures_that_ask_nothing_send_nothing() -> None:
    federation = Adder()
    assert run_together(federation, asking()) == [[]]  # type: ignore[arg-type]
    assert federation.messages == []
