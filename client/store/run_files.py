"""The large things that a run leaves at a site, as files: tables, and the last trained update.

A new process serves every message of a deployment, so nothing may live in memory only.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from client.store.site_db import Draft
from common.errors import StudyError
from common.ledger.entry import request_digest
from common.messages.exchanges import TrainReply, TrainRequest
from common.messages.plain import read_plain, write_plain
from common.statistics.base import Float
from common.utils.durable import alone, write_durably

_SAFE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")


@dataclass(frozen=True)
class StoredTable:
    """A table by patient: ids, column names, float64 values (patients, columns)."""

    patients: tuple[str, ...]
    columns: tuple[str, ...]
    values: Float


def safe_name(text: str) -> str:
    """Return `text` if it can be a file name: another party's must never leave its folder."""
    if not _SAFE.fullmatch(text) or ".." in text:
        raise StudyError("a name in the request cannot be a file name", where="request")
    return text


class RunTables:
    """Tables that a run made at this site, such as a network's features for its patients."""

    def __init__(self, work: Path, run: str) -> None:
        self.folder = work / "runs" / safe_name(run)

    def _path(self, name: str) -> Path:
        return self.folder / f"{safe_name(name.replace('/', '-').replace('@', '.'))}.npz"

    def write(self, name: str, subset: str, table: StoredTable) -> None:
        """Store a table of a subset's patients under its name."""
        content = io.BytesIO()
        np.savez(
            content,
            values=table.values,
            patients=np.array(table.patients, dtype=np.str_),
            columns=np.array(table.columns, dtype=np.str_),
        )
        write_durably(self._path(f"{name}@{subset}"), content.getvalue())

    def read(self, name: str, subset: str) -> StoredTable:
        """Return the table of this name and subset; KeyError when the run has not made it."""
        path = self._path(f"{name}@{subset}")
        if not path.is_file():
            raise KeyError(name)
        with np.load(path, allow_pickle=False) as stored:
            return StoredTable(
                patients=tuple(stored["patients"].tolist()),
                columns=tuple(stored["columns"].tolist()),
                values=stored["values"],
            )


class ReplyCache:
    """The last trained update of one run, sent again when it is asked for again.

    A reply can be lost on its way, and hours of training with it; and where training does not come
    out the same to the last bit, as on some graphics cards, no second reply could leave under the
    mask of the first.

    Parameters
    ----------
    folder : the run's folder at this site.
    """

    def __init__(self, folder: Path, draft: Draft) -> None:
        self._folder, self._draft = folder, draft

    def reply(self, request: TrainRequest, train: Callable[[], TrainReply]) -> TrainReply:
        """Return the reply that is kept for this very request, or that of `train`, and keep it.

        A repeated request waits for the training already in progress. What training cost, and the
        masks that it used, are remembered with the reply, which may be sent without training again.
        """
        with alone(self._folder / "training.lock"):
            asked = _digest(request)
            path = self._folder / f"reply-{asked}.safetensors"
            name = f"{self._folder.name}/{asked}"
            if self._draft.db.fact("reply", name) and path.is_file():
                kept: TrainReply = read_plain(path)
                return kept
            reply = train()
            for before in self._folder.glob("reply-*.safetensors"):
                before.unlink()
            write_plain(path, reply)
            self._draft.fix("reply", name, "kept")
            self._draft.remember()
            return reply


def _digest(request: TrainRequest) -> str:
    """Return the digest of all that a reply and its mask depend on."""
    names = (request.run, request.study, request.session, request.number)
    return request_digest(*names, request.digest, request.keys)
