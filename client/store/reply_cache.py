"""What a site owes: its last update of a network, until it is asked for the next one.

A reply can be lost on its way, and hours of training with it; and where training does not come out
the same to the last bit, as on some graphics cards, no second reply could leave under the mask of
the first. So an update is put by before it leaves, and sent again when it is asked for again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from common.ledger.entry import request_digest
from common.messages.exchanges import TrainReply, TrainRequest
from common.messages.plain import read_plain, write_plain
from common.utils.durable import alone


class Owed:
    """One run's, over all processes of a site.

    Parameters
    ----------
    folder : the run's folder at this site.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def reply(self, request: TrainRequest, train: Callable[[], TrainReply]) -> TrainReply:
        """The reply that was put by for this very request, or that of `train`, put by.

        One at a time: who asks again while the site still trains gets what comes of it.
        """
        with alone(self._folder / "owed.lock"):
            path = self._folder / f"owed-{_digest(request)}.safetensors"
            if path.is_file():
                kept: TrainReply = read_plain(path)
                return kept
            reply = train()
            for before in self._folder.glob("owed-*.safetensors"):
                before.unlink()
            write_plain(path, reply)
            return reply


def _digest(request: TrainRequest) -> str:
    """Of all that a reply and its mask depend on."""
    names = (request.run, request.study, request.session, request.number)
    return request_digest(*names, request.digest, request.keys)
