"""The key that the sites of a run share, as one site holds it, and fingerprints made with it.

Every message of a deployment is served by a process of its own, so contribution and key lie in
`site.db`. Sites agree anew in every session of a run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from client.store.masks import RunMasks
from client.store.site_db import site_db
from common.errors import SignatureError
from common.ledger.entry import request_digest
from common.masking.agreement import SignedKey
from common.masking.fingerprint import (
    P,
    check_addend,
    fingerprint_of,
    mask_fingerprint,
    pad,
    signed_of,
)
from common.masking.fixed_point import PROTOCOL, framed, from_text, to_text
from common.masking.group_key import contribution, group_key, seal, unseal
from common.masking.layout import RingSums
from common.masking.step import StepKeys, hide_fingerprint
from common.messages.exchanges import (
    AgreeRequest,
    EnrolReply,
    KeyRequest,
    SumRequest,
    TrainRequest,
)
from common.messages.totals import APART, UPDATE, context_of, groups
from common.study.model import Study

_KEY_BYTES = 32
OTHER_ENROLMENTS = "other_enrolments"
"""Kind of the problem that not all sites of a run were shown the same enrolments."""
ENROLMENT = "phase enrolment, question 0"
"""Name of the enrolment for people, as later questions are named."""
Fingerprints = NDArray[np.uint64]
Secret = NDArray[np.uint8]


class OtherEnrolmentsError(SignatureError):
    """The sites of a run were not all shown the same enrolments."""

    kind = OTHER_ENROLMENTS
    """All that the coordinator learns."""

    def __init__(self, what: str) -> None:
        remedy = "ask the coordinator; if it resumes the run, all sites agree anew"
        super().__init__(what, where=ENROLMENT, remedy=remedy)


def recall_group_key(work: Path, run: str, session: str) -> bytes | None:
    """Return the group key of a session of a run, None where the sites agreed on none."""
    stored = site_db(work).fact("group key", f"{run}/{session}")
    return None if stored is None else from_text(stored, _KEY_BYTES)


def agreed_enrolments(work: Path, run: str) -> str | None:
    """Return the digest of the enrolments that all sites of a run first agreed on, None if none."""
    return site_db(work).fact("derivation", f"{run}/agreed")


def own_enrolment(work: Path, run: str, reply: EnrolReply) -> bool:
    """Tell whether this very reply to an enrolment left the site."""
    return site_db(work).fact("enrolment", f"{run}/{request_digest(reply)}") is not None


class GroupKeys:
    """Contributions and keys of one site in one run."""

    def __init__(self, work: Path, study: Study, run: str, site: str, masks: RunMasks) -> None:
        self._work, self._study, self._run, self._site = work, study, run, site
        self._masks, self._db = masks, site_db(work)

    def enrolled(self, reply: EnrolReply) -> None:
        """Remember what this site said of itself, as all sites are to hear it."""
        self._db.fix("enrolment", f"{self._run}/{request_digest(reply)}", "said")

    def contribute(self, request: KeyRequest) -> dict[str, Secret]:
        """Seal this site's contribution to the key for every other site of the roster.

        Raises
        ------
        OtherEnrolmentsError : the enrolments are not all sites', this site's is not what it said,
            or others were shown before in this session.
        """
        said = {reply.site: reply for reply in request.enrolments}
        if tuple(said) != self._study.site_names:
            raise OtherEnrolmentsError(
                "the enrolments that were relayed are not those of all sites, in their order"
            )
        if not own_enrolment(self._work, self._run, said[self._site]):
            raise OtherEnrolmentsError(
                "the coordinator tells the others something else than this site said of itself"
            )
        keys = tuple(reply.key for reply in request.enrolments if reply.key is not None)
        private, others = self._masks.agreement(keys)
        asked = json.dumps({"digest": request.digest, "keys": [vars(key) for key in keys]})
        if self._db.fix("keys asked", f"{self._run}/{request.session}", asked) != asked:
            raise OtherEnrolmentsError("this site was shown other enrolments before")
        own = self._contribution(request.session)
        context = request.digest.encode()
        return {
            site: np.frombuffer(seal(own, private, public, context), dtype=np.uint8)
            for site, public in others.items()
        }

    def agree(self, request: AgreeRequest) -> None:
        """Take the others' contributions, and keep the key.

        Raises
        ------
        OtherEnrolmentsError : another question for keys than was answered, or a contribution that
            was not sealed for it.
        """
        stored = self._db.fact("keys asked", f"{self._run}/{request.session}")
        known = json.loads(stored or '{"digest": "", "keys": []}')
        asked: str = known["digest"]
        keys = tuple(SignedKey(**key) for key in known["keys"])
        others: dict[str, bytes] = {}
        if keys:
            private, others = self._masks.agreement(keys)
        if not keys or asked != request.enrolments or set(request.sealed) != set(others):
            raise OtherEnrolmentsError(
                "the other sites contribute to a key of other enrolments than this site was shown"
            )
        found = {
            site: self._unsealed(request, site, private, public) for site, public in others.items()
        }
        found[self._site] = self._contribution(request.session)
        key = group_key(found, asked.encode())
        with self._db.transaction():
            self._db.fix("group key", f"{self._run}/{request.session}", to_text(key))
            self._db.fix("derivation", f"{self._run}/agreed", asked)

    def _unsealed(
        self, request: AgreeRequest, site: str, private: X25519PrivateKey, public: bytes
    ) -> bytes:
        try:
            sealed = request.sealed[site].tobytes()
            return unseal(sealed, private, public, request.enrolments.encode())
        except SignatureError:
            raise OtherEnrolmentsError(
                f"site {site} did not seal its part of the key for the enrolments that this site"
                " was shown"
            ) from None

    def of_sums(self, request: SumRequest, sums: Sequence[RingSums]) -> Fingerprints:
        """Return the masked fingerprints of the sums that go back, one a subset.

        Parameters
        ----------
        sums : of every item, before they are masked.
        """
        key = recall_group_key(self._work, self._run, request.session)
        if key is None:
            return np.zeros(0, dtype=np.uint64)
        found = []
        for subset, places in groups(request.items).items():
            vectors: list[NDArray[Any]] = [sums[place].ring64 for place in places]
            vectors += [sums[place].ring32 for place in places]
            digests = [request.items[place].digest for place in places]
            found.append(self._masked(key, request, subset, vectors, digests))
        return np.array(found, dtype=np.uint64)

    def of_update(self, request: TrainRequest, vectors: Sequence[NDArray[Any]]) -> Fingerprints:
        """Return the masked fingerprint of an update, whose rings are not masked yet."""
        key = recall_group_key(self._work, self._run, request.session)
        if key is None:
            return np.zeros(0, dtype=np.uint64)
        return np.array(
            [self._masked(key, request, UPDATE, vectors, [request.digest])], dtype=np.uint64
        )

    def of_step(
        self, request: TrainRequest, vectors: Sequence[NDArray[Any]], keys: StepKeys
    ) -> Fingerprints:
        """Return the masked fingerprint of an update that a sum over some of the sites may hold.

        Parameters
        ----------
        vectors : of the update, before they are masked.
        keys : of the step; their masks hide the fingerprint as well.
        """
        key = recall_group_key(self._work, self._run, request.session)
        if key is None:
            return np.zeros(0, dtype=np.uint64)
        about = (self._run, request.session, request.number, UPDATE, request.plan.invited)
        context = context_of(*about, [request.digest])
        signed = [signed_of(vector) for vector in vectors]
        for vector in signed:
            check_addend(vector, len(request.plan.invited))
        value = fingerprint_of(key, context, signed) + pad(key, framed(context, self._site))
        return np.array([hide_fingerprint(value % P, keys, self._site, context)], dtype=np.uint64)

    def of_apart(self, request: TrainRequest, sums: NDArray[Any]) -> Fingerprints:
        """Return the masked fingerprint of the five sums that travel apart from an update."""
        key = recall_group_key(self._work, self._run, request.session)
        if key is None or not sums.size:
            return np.zeros(0, dtype=np.uint64)
        return np.array(
            [self._masked(key, request, APART, [sums], [request.digest])], dtype=np.uint64
        )

    def slot_key(self, keys: tuple[SignedKey, ...], context: bytes) -> bytes:
        """Return the key (32 bytes) by which places are dealt to the sites of one sum of rows.

        Where the study does not mask, everybody can see a site's places, and the key is public.

        Raises
        ------
        SignatureError : the sites have agreed on no key.
        """
        if not self._study.masked("train"):
            return hashlib.sha256(framed(PROTOCOL, "open slots", self._run, context)).digest()
        session = next((key.session for key in keys if key.site == self._site), "")
        found = recall_group_key(self._work, self._run, session)
        if found is None:
            raise SignatureError(
                "the sites have agreed on no key by which places could be dealt",
                where="query.rows",
                remedy="let the coordinator resume the run",
            )
        return found

    def _masked(
        self,
        key: bytes,
        request: SumRequest | TrainRequest,
        subset: str,
        vectors: Sequence[NDArray[Any]],
        digests: Sequence[str],
    ) -> int:
        sites = self._study.members("train" if subset in (UPDATE, APART) else subset)
        signed = [signed_of(vector) for vector in vectors]
        for vector in signed:
            check_addend(vector, len(sites))
        context = context_of(self._run, request.session, request.number, subset, sites, digests)
        value = fingerprint_of(key, context, signed)
        if self._site == min(sites):
            value = (value + pad(key, context)) % P
        partners = self._study.mask_partners(self._site, sites)
        pairs = self._masks.pairs(request.keys, partners)
        return mask_fingerprint(value, pairs, self._site, context)

    def _contribution(self, session: str) -> bytes:
        name = f"{self._run}/{session}"
        kept = self._db.fact("contribution", name)
        if kept is None:
            kept = self._db.fix("contribution", name, to_text(contribution()))
        return from_text(kept, _KEY_BYTES)
