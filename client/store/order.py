"""Order of the rounds of a run at a site: one that a newer one has overtaken is not answered.

Nothing promises a site its questions in the order in which they were asked: one that it missed
while it was away may come after those that followed. Nobody waits for its answer any more, and to
begin it would take away the keys of the round under way. So it is put aside, and the run goes on.
"""

from __future__ import annotations

from pathlib import Path

from client.store.site_db import site_db
from common.errors import StudyError
from common.messages.exchanges import TrainRequest

# all questions for an update, and those for which a site trains: not the last two of a training
_ALL, _ROUNDS = "all", "rounds"


class OvertakenError(StudyError):
    """A round that came after a newer one of the same run."""

    kind = "overtaken"
    """All that the coordinator learns."""

    def __init__(self, request: TrainRequest, newest: int) -> None:
        super().__init__(
            f"question {request.number} (weights {request.network}, {request.variant}) came after"
            f" question {newest} of the same run",
            where="order of the rounds",
        )


def check_newest(work: Path, request: TrainRequest) -> None:
    """Return if no newer question for an update of the run came before.

    A coordinator that goes on after an interruption may ask for the loss of the last weights once
    more, after their features. Features are kept at any time where the weights come with the
    question: a site that was away owes them, and is waited for.

    Raises
    ------
    OvertakenError : one came.
    """
    plan = request.plan
    if plan.keep and request.weights.size:
        return
    of = _ALL if plan.epochs or plan.keep else _ROUNDS
    newest = site_db(work).last_number("round", _name(request, of))
    if request.number < newest:
        raise OvertakenError(request, newest)


def note_round(work: Path, request: TrainRequest) -> None:
    """Remember the number of a question for an update."""
    database = site_db(work)
    for kind in (_ALL, _ROUNDS) if request.plan.epochs else (_ALL,):
        database.fix("round", f"{_name(request, kind)}/{request.number}", request.variant)


def _name(request: TrainRequest, kind: str) -> str:
    return f"{request.run}/{request.study}/{kind}"
