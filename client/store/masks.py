"""Masks of a site: its signed key of a run, what it shares with each other site, what it sent.

Every message of a deployment is served by a process of its own, so the key, the masks used and the
rosters they were used under lie in `site.db`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from client.site import SiteSettings
from client.store.heads import LedgerHeads
from client.store.run_keys import RestartedError, RunKey, RunKeys
from client.store.site_db import Draft, site_db
from common.errors import RefusedError, SignatureError, StudyError
from common.masking import identity
from common.masking.agreement import (
    SignedKey,
    announce,
    check_roster,
    pair_secrets,
    roster_digest,
)
from common.masking.fixed_point import KEY_BYTES, PROTOCOL, framed, hkdf_sha256
from common.masking.pairwise import among, mask_context, mask_use, mask_vector
from common.masking.step import StepKeys, hide_step, step_keys
from common.study.model import Departure, Study

Ring = NDArray[Any]
_ROSTER = TypeAdapter(dict[str, str])


class RunMasks:
    """The masks that hide what one site sends in one run.

    Parameters
    ----------
    settings : of the site; `identity` is its key file.
    study : as approved; its roster names everyone's identity key.
    run : name of the run.
    draft : of the reply under way.
    """

    def __init__(self, settings: SiteSettings, study: Study, run: str, draft: Draft) -> None:
        self._settings, self._study, self._run, self._draft = settings, study, run, draft
        deployed = settings.deployment is not None
        self._keys = RunKeys(settings.work, study.digest(), deployed=deployed)
        self._secrets: dict[str, dict[str, bytes]] = {}

    @property
    def needed(self) -> bool:
        """True where any sum of the study is masked."""
        subsets = ("train", *(test.name for test in self._study.test_sets))
        return any(self._study.masked(subset) for subset in subsets)

    def announce(self, session: str) -> SignedKey | None:
        """Return the site's signed key for an enrolment; None where nothing is masked.

        It is the same for the same enrolment, as long as the site's program runs.

        Raises
        ------
        InputError : the site has no identity key.
        RefusedError : its identity key is not the one that the study names.
        """
        if not self.needed:
            return None
        return self._keys.make(self._run, session, partial(self._make, session)).signed

    def recognise(self, keys: tuple[SignedKey, ...]) -> None:
        """Return if masks can be agreed on with these keys, or there are none: nothing is masked.

        Raises
        ------
        RestartedError : this start of the program does not have the pair of its own key.
        SignatureError : a key that is not the one its site signed for this enrolment.
        OtherRolledBackError : a site announced its key with an older ledger than before.
        """
        if keys:
            self._pair_secrets(self._own(keys).private, keys)

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
        """Mask a vector in place; return it as it is where the study does not mask this subset.

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
        own = self._own(keys).signed
        participants = self._study.members(subset)
        context = mask_context(self._run, exchange, digest, item, participants)
        pairs = self.pairs(keys, self._study.mask_partners(own.site, participants))
        masked = mask_vector(vector, pairs, own.site, context, out=vector)
        self._admit(own.public_key, context, masked)
        return masked

    def step_keys(
        self, keys: tuple[SignedKey, ...], participants: Sequence[str], context: bytes
    ) -> StepKeys:
        """Return this site's keys of one step, of which a sum over some of the sites can be opened.

        Raises
        ------
        SignatureError : a key that is not the one its site signed for this run.
        RestartedError : this start of the program does not have the own one.
        """
        own = self.own_secret(keys, context)
        partners = self._study.step_partners(self._settings.name, participants)
        return step_keys(own, self.pairs(keys, partners), context)

    def hide_step(
        self,
        vectors: Mapping[str, Ring],
        step: StepKeys,
        keys: tuple[SignedKey, ...],
        context: bytes,
    ) -> None:
        """Mask vectors of one step in place.

        Raises
        ------
        RefusedError : other vectors were already sent under these masks.
        """
        own = self._own(keys).signed
        hide_step(vectors, step, own.site, context)
        for name, vector in vectors.items():
            self._admit(own.public_key, framed(context, name), vector)

    def own_secret(self, keys: tuple[SignedKey, ...], context: bytes) -> bytes:
        """Return 32 bytes that only this site knows, the same for the same keys and context."""
        if not self.needed:
            return secrets.token_bytes(KEY_BYTES)
        private, _ = self._own(keys)
        info = framed(PROTOCOL, "own secret", context)
        return hkdf_sha256(private.private_bytes_raw(), salt=b"", info=info)

    def agreement(self, keys: tuple[SignedKey, ...]) -> tuple[X25519PrivateKey, dict[str, bytes]]:
        """Return this site's ephemeral key, and the public halves of the others', checked.

        Raises
        ------
        SignatureError : a key that is not the one its site signed for this run.
        RestartedError : this start of the program does not have the own one.
        """
        private, own = self._own(keys)
        roster = roster_digest(self._study.roster)
        names = (self._run, self._study.digest(), roster, own.session)
        checked = check_roster(keys, self._study.roster, *names)
        public = {site: key.public_bytes_raw() for site, key in checked.items()}
        return private, {site: raw for site, raw in public.items() if site != own.site}

    def pairs(self, keys: tuple[SignedKey, ...], partners: Sequence[str]) -> dict[str, bytes]:
        """Return the secrets that this site shares with these other sites."""
        private, own = self._own(keys)
        return among(self._pair_secrets(private, keys), own.site, (own.site, *partners))

    def _own(self, keys: tuple[SignedKey, ...]) -> RunKey:
        """Return the pair of the own key among these, where this start of the program has it."""
        for key in keys:
            if key.site == self._settings.name:
                held = self._keys.held(self._run, key.session)
                if held is None or vars(held.signed) != vars(key):
                    raise RestartedError
                return held
        raise SignatureError(
            "the key of this site is missing",
            where=f"site {self._settings.name}",
            remedy="let all sites announce new keys for this run",
        )

    def _make(self, session: str) -> RunKey:
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
        study = self._study.digest()
        end = self._draft.db.ledger_end()
        head = (end.number, end.hash)
        about = (name, self._run, study, roster, session)
        start = self._keys.announced
        return RunKey(*announce(mine.private, *about, head=head, start=start))

    def _pair_secrets(
        self, private: X25519PrivateKey, keys: tuple[SignedKey, ...]
    ) -> Mapping[str, bytes]:
        """Check keys not seen before; nothing that comes with them but the own one is trusted."""
        seen = repr([vars(key) for key in keys])
        if seen not in self._secrets:
            roster = roster_digest(self._study.roster)
            name, study = self._settings.name, self._study
            session = next(key.session for key in keys if key.site == name)
            checked = check_roster(keys, study.roster, self._run, study.digest(), roster, session)
            heads = LedgerHeads(self._settings.work, name)
            heads.check_others(keys, study.roster)
            self._secrets[seen] = pair_secrets(private, name, checked, self._run, roster)
        return self._secrets[seen]

    def _admit(self, public_key: str, context: bytes, masked: Ring) -> None:
        """Return if the vector may leave; what was sent is remembered with its release."""
        if not self._draft.fix("mask", *mask_use(public_key, context, masked)):
            raise RefusedError(
                "another vector was already sent under this mask; both give their difference away",
                where=f"mask context {context.hex()[:12]}",
                remedy="the coordinator must ask under a new exchange id",
            )


class Rosters:
    """The rosters of a site's releases, so that it knows the key of a hospital that leaves.

    A ledger entry holds a roster's digest; here are its names and keys. The coordinator cannot
    change either, and so cannot let a hospital leave with a key of its own making.
    """

    def __init__(self, work: Path) -> None:
        self._db = site_db(work)

    def keep(self, roster: Mapping[str, str]) -> str:
        """Remember names and identity keys and return their digest; part of a release."""
        digest = roster_digest(roster)
        self._db.fix("roster", digest, json.dumps(dict(roster), sort_keys=True))
        return digest

    def recall(self, digest: str) -> dict[str, str]:
        """Return the identity keys by site of the roster of this digest; empty if never kept.

        Raises
        ------
        StudyError : what was kept no longer has the digest.
        """
        stored = self._db.fact("roster", digest)
        if stored is None:
            return {}
        try:
            roster = _ROSTER.validate_json(stored, strict=True)
        except ValidationError:
            roster = {}
        if roster_digest(roster) != digest:
            raise StudyError(
                "the roster of an earlier release is damaged",
                where=f"roster {digest[:12]}",
                remedy="restore the site's work folder from its backup",
            )
        return roster

    def proves(self, statement: Departure) -> bool:
        """Say whether this site knows that a statement is of the hospital that it names.

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
