"""Steps of a training at one site: its keys of each, what it signed, and the one sum it opened.

A site signs whose updates a sum of a step holds, and reveals its keys of the step once it has the
signatures of all of them. It reveals for one sum of a step, ever; two sums of one step would differ
by a few sites' updates.

If a site dies before it signs, the others have signed for nothing. They then answer the step again
with the same update under fresh masks (`Opening.attempt`), and sign another sum. By this a site
that has not revealed renounces the sum that it signed before, durably: it never reveals for that.

Why a coordinator with t sites on its side opens no second sum. Be U and V two sums of a step, of
whatever attempts, sessions or numbers, and be more than t sites in both (`colluders_stood`), so at
least one honest one. A sum opens with the own masks of all its sites, and that site reveals its own
for one of the two. Nor does a sum that stays closed tell of less than all honest sites in it:

- A site outside U, or one in U that did not reveal for it, is under a mask of its own that nobody
  else has and it never gave.
- The honest sites in U that did reveal are linked to the others in U by masks of pairs, of which
  neither end reveals any: a site gives those shared with sites outside the sum that it opens.

Both hold only because no key serves two attempts. Under the same keys a site h that opened U, and
the others that renounced U for V without h, would reveal all masks of h between them: h its own,
they those that they share with it. So one context has one sum, and another one has other keys.

A renunciation that another site signs is not taken, though it could free a site that has revealed.
If k signed "not revealed, and never will" and reveals all the same, U opens; let V be U without k
and h, and the difference is h's update, as k's is known. It would be safe for V = U without k
alone, but then brings nothing: whoever can sign it can reveal instead. So between the last
signature and the last key a step waits for its sites, or for the consent that one of them gave in
advance (`common.masking.absence`), by which the others begin a run without it.

A site whose folder was put back forgets what it revealed, and counts as one of the t. A quorum of
others could sign the last step in which they saw it, over a nonce of its own. They are fooled where
2 quorum <= n + t, in place of n + t + 1, so that buys one site. But no site knows whether it was
put back: each would have to ask at each start, and could not sign before a quorum has answered it,
which is what rounds are for that go on while others are away. Nor is it denied the keys of steps in
its backup: without them it could not complete a sum that others have revealed for. It answers
nothing of a training that went on by a round, as it does not know the circle of the round before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.site import LOG, SiteSettings
from client.store.masks import RunMasks
from client.store.order import check_newest
from client.store.site_db import site_db
from common.disclosure.differencing import told_by_difference
from common.disclosure.rule import TRAIN, BrokenRuleError, Refusals, refusal
from common.masking import identity
from common.masking.fixed_point import KEY_BYTES, from_text, to_text
from common.masking.step import StepKeys
from common.messages.exchanges import TrainRequest
from common.messages.opening import PURPOSE, Opening, check_signatures
from common.study.model import FEWEST_MASKED, PrivacySettings, Study

_CIRCLE, _DEPARTURE = "circle", "departure"
Signed = tuple[str, list[str]]
"""Context (hexadecimal) of an opening, and the sites in its sum."""


class Openings:
    """Steps of one site in one run."""

    def __init__(self, settings: SiteSettings, study: Study, run: str, masks: RunMasks) -> None:
        self._settings, self._study, self._run, self._masks = settings, study, run, masks
        self._db = site_db(settings.work)

    def refusals(self, request: TrainRequest, privacy: PrivacySettings) -> Refusals:
        """Refuse a step that asks other sites than those of the sum that the step before opened.

        So a site that was left out of a training stays out of it: its return would let its update
        be taken off the next sum.
        """
        plan, before = request.plan, self._study.training_sites
        if not plan.invited:
            return ()
        if plan.round:
            before_it = f"{request.network}/{request.variant}/{plan.round - 1}"
            signed = self._last_signed(f"{self._run}/{before_it}")
            before = tuple(signed[1]) if signed else ()
        if plan.invited != before or self._settings.name not in plan.invited:
            return (refusal("opened", privacy, TRAIN, "another circle of sites"),)
        return ()

    def begin(self, request: TrainRequest) -> StepKeys:
        """Return the site's keys of a step, which are remembered until the next one.

        Raises
        ------
        OvertakenError : the next one came meanwhile.
        """
        opening, run, study = request.opening, self._run, request.study
        context = opening.context(run, study)
        keys = self._masks.step_keys(request.keys, opening.invited, context)
        pairs = {site: to_text(key) for site, key in keys.pairs.items()}
        stored = json.dumps({"own": to_text(keys.own), "pairs": pairs})
        about = (study, run, opening.step, context.hex())
        with self._db.transaction():
            check_newest(self._settings.work, request)
            self._db.keep_step_keys(*about, stored)
        return keys

    def hide(
        self, request: TrainRequest, keys: StepKeys, vectors: Mapping[str, NDArray[Any]]
    ) -> None:
        """Mask a site's vectors in place."""
        context = request.opening.context(self._run, request.study)
        self._masks.hide_step(vectors, keys, request.keys, context)

    def sign(self, opening: Opening, privacy: PrivacySettings) -> bytes:
        """Sign whose updates a sum holds, and renounce what was signed of this step before.

        Raises
        ------
        BrokenRuleError : this site gave no update for it, takes no part, signed another one under
            these masks or revealed its keys for another one, too few sites are left, or too many
            sums would together tell of one or two sites.
        """
        context = opening.context(self._run, self._study.digest())
        known = self._keys(opening, context) is not None
        ordered = tuple(site for site in opening.invited if site in opening.opened)
        fits = opening.opened == ordered and self._settings.name in ordered
        if not known or not fits or len(ordered) < max(self._study.quorum, FEWEST_MASKED):
            raise BrokenRuleError((refusal("opened", privacy, TRAIN, "not a sum of this step"),))
        with self._db.transaction():
            self._take(opening, (context.hex(), list(opening.opened)), privacy)
        if opening.left_out:
            missing = ", ".join(opening.left_out)
            LOG.warning(
                "site %s: %s goes on without %s", self._settings.name, opening.step, missing
            )
        private = identity.load(self._settings.identity).private
        statement = opening.statement(self._run, self._study.digest())
        return identity.sign(private, PURPOSE, statement)

    def reveal(
        self,
        opening: Opening,
        signatures: Mapping[str, NDArray[np.uint8]],
        privacy: PrivacySettings,
    ) -> StepKeys:
        """Return the keys that open a sum, once this site and all others in it have signed it.

        Raises
        ------
        BrokenRuleError : this site signed another one since, or none.
        SignatureError : a signature is missing or wrong.
        """
        context = opening.context(self._run, self._study.digest())
        own, step = (context.hex(), list(opening.opened)), f"{self._run}/{opening.step}"
        study, keys = self._study, self._keys(opening, context)
        broken = BrokenRuleError((refusal("opened", privacy, TRAIN, "not what was signed"),))
        if keys is None or self._last_signed(step) != own:
            raise broken
        check_signatures(opening, signatures, self._run, study.digest(), study.roster)
        with self._db.transaction():
            # a signature may have been asked for at the same time
            if self._last_signed(step) != own:
                raise broken
            if self._db.fix("revealed", step, json.dumps(own)) != json.dumps(own):
                raise broken
        return keys.revealed(opening.opened)

    def departures_left(self, privacy: PrivacySettings) -> int:
        """Return how many sums that tell of one or two sites this one signs yet."""
        counted = len(self._db.questions(self._study.digest(), _DEPARTURE))
        return max(0, privacy.max_departures - counted)

    def _count_departure(self, opening: Opening, privacy: PrivacySettings) -> None:
        """Count a sum that some left, where with others of the study it tells of one or two.

        These may be of any training or run: without three and then without four other sites, the
        sums differ by one.
        """
        study, name = self._study.digest(), f"{self._run}/{opening.step}"
        circles = self._db.questions(study, _CIRCLE)
        self._db.ask([(study, _CIRCLE, json.dumps(opening.opened))])
        before = {frozenset(json.loads(one)) for one in circles}
        whole = frozenset(self._study.training_sites)
        if not opening.left_out or not told_by_difference(
            frozenset(opening.opened), (whole, *before), ()
        ):
            return
        if len(self._db.questions(study, _DEPARTURE) | {name}) > privacy.max_departures:
            raise BrokenRuleError((refusal("departures", privacy, TRAIN),))
        self._db.ask([(study, _DEPARTURE, name)])

    def _take(self, opening: Opening, own: Signed, privacy: PrivacySettings) -> None:
        """Remember what is signed, and that what was signed of the step before is renounced."""
        step = f"{self._run}/{opening.step}"
        signed = self._all_signed(step)
        if signed and signed[-1] == own:
            return
        if self._db.fact("revealed", step) is not None:
            raise BrokenRuleError((refusal("opened", privacy, TRAIN, "opened before"),))
        if own[0] in [context for context, _ in signed]:
            raise BrokenRuleError((refusal("opened", privacy, TRAIN, "another sum before"),))
        self._count_departure(opening, privacy)
        name = f"{step}/again/{len(signed)}" if signed else step
        self._db.fix("opened", name, json.dumps([*own, len(signed)] if signed else own))

    def _last_signed(self, step: str) -> Signed | None:
        signed = self._all_signed(step)
        return signed[-1] if signed else None

    def _all_signed(self, step: str) -> list[Signed]:
        """Return what was signed of a step of a run, in order."""
        first = self._db.fact("opened", step)
        if first is None:
            return []
        again = [json.loads(value) for value in self._db.facts("opened", f"{step}/again")]
        later = sorted(again, key=lambda one: int(one[2]))
        return [(one[0], one[1]) for one in (json.loads(first), *later)]

    def _keys(self, opening: Opening, context: bytes) -> StepKeys | None:
        about = (self._study.digest(), self._run, opening.step, context.hex())
        stored = self._db.step_keys(*about)
        if stored is None:
            return None
        found = json.loads(stored)
        pairs = {site: from_text(text, KEY_BYTES) for site, text in found["pairs"].items()}
        return StepKeys(from_text(found["own"], KEY_BYTES), pairs)
