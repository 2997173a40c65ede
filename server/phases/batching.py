"""Run procedures that ask for sums side by side: their questions of one step are one message."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, TypeVar

from common.ledger.entry import request_digest
from common.messages.exchanges import SumItem
from common.transforms.views import View
from server.phases.protocol import Federation

T = TypeVar("T")
# yields the sums it wants next, is sent their outcomes, returns its findings
Procedure = Generator[list[SumItem], list[Any], T]


def run_together(federation: Federation, *procedures: Procedure[Any]) -> list[Any]:
    """Run procedures together until all have ended; return their results in order.

    However many procedures take part, each step is one message: rounds are what a study over
    hospitals waits for.
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


def distinct(views: Sequence[View]) -> tuple[list[View], list[int]]:
    """Return the different views, each of which is asked about once, and the place of each view.

    They are compared by content: a view that was shared before a checkpoint is another object
    after it, and a resumed run asks the same questions.
    """
    digest_of = {key: request_digest(view) for key, view in {id(v): v for v in views}.items()}
    digests = [digest_of[id(view)] for view in views]
    found = dict(zip(digests, views, strict=True))
    places = {digest: place for place, digest in enumerate(found)}
    return list(found.values()), [places[digest] for digest in digests]
