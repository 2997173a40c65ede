"""A site's masks of one run: its signed key, what it shares with each other site, what it sent.

Every message of a deployment is served by a process of its own, so the key and the memory of masks
used lie in the run's folder, for the owner alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from client.site import SiteSettings
from client.store.digest_pairs import DigestPairs
from common.errors import RefusedError
from common.masking import identity
from common.masking.agreement import (
    SignedKey,
    announce,
    check_roster,
    pair_secrets,
    roster_digest,
)
from common.masking.context import ContextGuard, mask_context
from common.masking.fixed_point import from_text, to_text
from common.masking.pairwise import among, mask_vector
from common.study.model import Study
from common.utils.durable import create_durably

Ring = NDArray[Any]
KEY_FILE, USED_FILE = "ephemeral.json", "masks-used.txt"


class RunMasks:
    """Hides what one site sends in one run.

    Parameters
    ----------
    settings : of the site; `identity` is its key file.
    study : as approved; its roster names everyone's identity key.
    run : name of the run.
    folder : the run's folder at this site.
    """

    def __init__(self, settings: SiteSettings, study: Study, run: str, folder: Path) -> None:
        self._settings, self._study, self._run, self._folder = settings, study, run, folder
        self._secrets: dict[str, dict[str, bytes]] = {}
        self._guard, self._used = ContextGuard(), DigestPairs(folder / USED_FILE)

    @property
    def needed(self) -> bool:
        """Whether any sum of the study is masked."""
        subsets = ("train", *(test.name for test in self._study.test_sets))
        return any(self._study.masked(subset) for subset in subsets)

    def announce(self) -> SignedKey | None:
        """This site's signed key for the run, the same however often it is asked; None unneeded.

        Raises
        ------
        InputError : the site has no identity key.
        RefusedError : its identity key is not the one that the study names.
        """
        return self._own()[1] if self.needed else None

    def hide(
        self,
        vector: Ring,
        *,
        subset: str,
        keys: tuple[SignedKey, ...],
        exchange: str,
        digest: str,
        item: str,
    ) -> Ring:
        """The vector masked in place, or as it is where the study does not mask this subset.

        Parameters
        ----------
        subset : whose sites' vectors are added.
        keys : of all sites, as the coordinator hands them on.
        exchange : never the same for two rounds of a run.
        digest : of what was asked for.
        item : which vector of the answer.

        Raises
        ------
        SignatureError : a key that is not the one its site signed for this run.
        RefusedError : another vector was already sent under this mask.
        """
        if not self._study.masked(subset) or vector.size == 0:
            return vector
        private, own = self._own()
        participants = self._study.members(subset)
        context = mask_context(self._run, exchange, digest, item, participants)
        pairs = among(self._pair_secrets(private, keys), own.site, participants)
        masked = mask_vector(vector, pairs, own.site, context, out=vector)
        self._admit(own.public_key, context, masked)
        return masked

    def _own(self) -> tuple[X25519PrivateKey, SignedKey]:
        path = self._folder / KEY_FILE
        if not path.is_file():
            self._make(path)
        stored = json.loads(path.read_text(encoding="utf-8"))
        private = X25519PrivateKey.from_private_bytes(from_text(stored["private"], 32))
        return private, SignedKey(**stored["key"])

    def _make(self, path: Path) -> None:
        name = self._settings.name
        mine = identity.load(self._settings.identity)
        public = identity.public_text(mine.private.public_key())
        if self._study.roster.get(name) != public:
            raise RefusedError(
                "the study names another identity key for this site",
                where=f"site {name}",
                remedy="give the coordinator this site's public key, and compare fingerprints",
            )
        roster = roster_digest(self._study.roster)
        private, key = announce(mine.private, name, self._run, self._study.digest(), roster)
        text = json.dumps({"private": to_text(private.private_bytes_raw()), "key": vars(key)})
        create_durably(path, text.encode())

    def _pair_secrets(
        self, private: X25519PrivateKey, keys: tuple[SignedKey, ...]
    ) -> Mapping[str, bytes]:
        """Checked anew for keys not seen before; nothing that comes with them is trusted."""
        seen = repr([vars(key) for key in keys])
        if seen not in self._secrets:
            roster = roster_digest(self._study.roster)
            checked = check_roster(
                keys, self._study.roster, self._run, self._study.digest(), roster
            )
            name = self._settings.name
            self._secrets[seen] = pair_secrets(private, name, checked, self._run, roster)
        return self._secrets[seen]

    def _admit(self, public_key: str, context: bytes, masked: Ring) -> None:
        """Return if the vector may leave; what is remembered of it is on the disk by then."""
        with self._used.exclusive():
            for use, content in self._used.new():
                self._guard.seen.setdefault(use, content)
            before = set(self._guard.seen)
            self._guard.admit(public_key, context, masked)
            new = self._guard.seen.keys() - before
            self._used.add((use, self._guard.seen[use]) for use in new)
