"""Under which rosters this site released, so that it knows the key of a hospital that leaves.

A ledger entry holds a roster's digest; here are its names and keys. The coordinator cannot change
either, and so cannot let a hospital leave with a key of its own making.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from client.store.state import safe_name
from common.errors import SignatureError, StudyError
from common.masking.agreement import roster_digest
from common.masking.leaving import LeftSite
from common.utils.durable import write_durably

_FILE = TypeAdapter(dict[str, str])


class Rosters:
    """The rosters of a site's releases, in private files beside its ledger.

    Parameters
    ----------
    work : the site's work folder.
    """

    def __init__(self, work: Path) -> None:
        self._folder = work / "rosters"

    def keep(self, roster: Mapping[str, str]) -> str:
        """Store names and identity keys, and return their digest; before a release is written."""
        digest = roster_digest(roster)
        path = self._path(digest)
        if not path.is_file():
            write_durably(path, json.dumps(dict(roster), sort_keys=True, indent=1).encode() + b"\n")
        return digest

    def recall(self, digest: str) -> dict[str, str]:
        """Identity key by site of the roster of this digest; empty when it was never kept.

        Raises
        ------
        StudyError : what was kept no longer has the digest.
        """
        path = self._path(digest)
        if not path.is_file():
            return {}
        try:
            roster = _FILE.validate_json(path.read_bytes(), strict=True)
        except ValidationError:
            roster = {}
        if roster_digest(roster) != digest:
            raise StudyError(
                "the roster of an earlier release is damaged",
                where=f"rosters/{path.name}",
                remedy="restore the site's work folder from its backup",
            )
        return roster

    def proves(self, statement: LeftSite) -> bool:
        """Whether this site knows that the hospital itself signed that it left.

        It does if the statement is signed with the key that the hospital had on the roster it
        leaves, and this site itself released under that roster.
        """
        if self.recall(statement.roster).get(statement.site) != statement.public_key:
            return False
        try:
            statement.verify()
        except SignatureError:
            return False
        return True

    def _path(self, digest: str) -> Path:
        return self._folder / f"{safe_name(digest)}.json"
