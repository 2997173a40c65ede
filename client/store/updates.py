"""Updates of a site in one run: one question for each round of a training, and its one update."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from client.store.site_db import Draft, SiteDb
from common.disclosure.rule import TRAIN, Refusals, refusal
from common.ledger.entry import request_digest
from common.masking.update import Update
from common.messages.exchanges import TrainRequest
from common.messages.plain import read_plain, write_plain
from common.study.model import PrivacySettings
from common.utils.durable import alone


class Updates:
    """Updates of one site in one run.

    Parameters
    ----------
    folder : the run's folder at this site.
    draft : of the reply under way.
    kept : store the last update, and do not compute it anew for a repeated request. A reply can be
        lost on its way, and hours of training with it; and on some graphics cards training does
        not come out the same to the last bit. In a simulation no reply is lost.
    """

    def __init__(self, folder: Path, draft: Draft, *, kept: bool) -> None:
        self._folder, self._draft, self._kept = folder, draft, kept

    def reserve(self, request: TrainRequest, privacy: PrivacySettings) -> Refusals:
        """Take the request as the only one of its round, unless another one was taken before.

        From then on it is remembered, whatever becomes of its answer: of two requests at once one
        is refused. A further run of the study asks anew, with other draws; so that nobody averages
        these out, a round is answered in at most `max_releases` runs.
        """
        which = "/".join((request.network, request.variant, _place(request)))
        name = "/".join((request.run, request.study, which))
        kind, db = f"update/{which}", self._draft.db
        with db.transaction():
            runs = db.questions(request.study, kind) | {request.run}
            if len(runs) > privacy.max_releases:
                return (refusal("releases", privacy, ""),)
            if db.fix("update", name, request.digest) != request.digest:
                return (refusal("update", privacy, TRAIN, "another request before"),)
            db.ask([(request.study, kind, request.run)])
        return ()

    def update(self, request: TrainRequest, train: Callable[[], Update]) -> Update:
        """Return the update stored for this very request, or that of `train`, and store it.

        A repeated request waits for the training already in progress. What training cost is
        remembered with the update, which may be sent without training again.
        """
        if not self._kept:
            return train()
        with alone(self._folder / "training.lock"):
            path, name = _path(self._folder, request), _name(self._folder, request)
            if is_stored(self._folder, self._draft.db, request):
                return Update(**read_plain(path))
            update = train()
            for before in self._folder.glob("update-*.safetensors"):
                before.unlink()
            write_plain(path, vars(update))
            self._draft.fix("reply", name, "kept")
            self._draft.remember()
            return update


def is_stored(folder: Path, db: SiteDb, request: TrainRequest) -> bool:
    """Return whether the update of this very request is there, and its cost remembered."""
    known = db.fact("reply", _name(folder, request))
    return known is not None and _path(folder, request).is_file()


def _name(folder: Path, request: TrainRequest) -> str:
    return f"{folder.name}/{request_digest(request.run, request.study, request.digest)}"


def _path(folder: Path, request: TrainRequest) -> Path:
    return folder / f"update-{_name(folder, request).rpartition('/')[2]}.safetensors"


def _place(request: TrainRequest) -> str:
    """Return which request of its training this is: by round, or the one that trains nothing.

    The last two ask for the loss of the final weights, and for features of the best ones.
    """
    if request.plan.epochs:
        return str(request.plan.round)
    return "features" if request.plan.keep else "loss"
