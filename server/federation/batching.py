"""Procedures that ask for sums, side by side: what they ask in the same step is one message."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

from common.messages.exchanges import SumItem
from server.federation.federation import Federation

T = TypeVar("T")
# yields the sums it wants next, is sent their outcomes, returns what it found
Procedure = Generator[list[SumItem], list[Any], T]


def in_lockstep(federation: Federation, *procedures: Procedure[Any]) -> list[Any]:
    """Run procedures together until all have ended; what each returned, in order.

    A message a step, however many procedures take part: rounds are what a study over hospitals
    waits for.
    """
    outcomes: list[Any] = [None] * len(procedures)
    wanted: dict[int, list[SumItem]] = {}

    def go_on(index: int, results: list[Any] | None) -> None:
        procedure = procedures[index]
        try:
            wanted[index] = next(procedure) if results is None else procedure.send(results)
        except StopIteration as end:
            outcomes[index] = end.value
            wanted.pop(index, None)

    for index in range(len(procedures)):
        go_on(index, None)
    while wanted:
        asked = dict(wanted)
        results = federation.sum_many([item for items in asked.values() for item in items])
        for index, items in asked.items():
            own, results = results[: len(items)], results[len(items) :]
            go_on(index, own)
    return outcomes
