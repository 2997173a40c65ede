"""Steps of a training at one site: its keys of each, and the one sum that it signed.

A site signs one opening of a step, whatever becomes of it, and reveals its keys for that one alone.
Two sums of one step would differ by a few sites' updates; both can only be opened if every site in
both has signed twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.site import LOG, SiteSettings
from client.store.masks import RunMasks
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


class Openings:
    """Steps of one site in one run.

    Parameters
    ----------
    settings : of the site; its identity key signs.
    masks : of the run.
    """

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
            signed = self._signed(request.network, request.variant, plan.round - 1)
            before = tuple(signed[1]) if signed else ()
        if plan.invited != before or self._settings.name not in plan.invited:
            return (refusal("opened", privacy, TRAIN, "another circle of sites"),)
        return ()

    def begin(self, request: TrainRequest) -> StepKeys:
        """Return the site's keys of a step, which are remembered until the next one."""
        opening, run, study = request.opening, self._run, request.study
        context = opening.context(run, study)
        keys = self._masks.step_keys(request.keys, opening.invited, context)
        pairs = {site: to_text(key) for site, key in keys.pairs.items()}
        stored = json.dumps({"own": to_text(keys.own), "pairs": pairs})
        about = (study, run, opening.step, context.hex())
        self._db.keep_step_keys(*about, stored)
        return keys

    def hide(
        self, request: TrainRequest, keys: StepKeys, vectors: Mapping[str, NDArray[Any]]
    ) -> None:
        """Mask a site's vectors in place."""
        context = request.opening.context(self._run, request.study)
        self._masks.hide_step(vectors, keys, request.keys, context)

    def sign(self, opening: Opening, privacy: PrivacySettings) -> bytes:
        """Sign whose updates a sum holds; from then on no other sum of this step.

        Raises
        ------
        BrokenRuleError : this site gave no update for it, takes no part, signed another one, too
            few sites are left, or too many sums would together tell of one or two sites.
        """
        context = opening.context(self._run, self._study.digest())
        known = self._keys(opening, context) is not None
        ordered = tuple(site for site in opening.invited if site in opening.opened)
        fits = opening.opened == ordered and self._settings.name in ordered
        if not known or not fits or len(ordered) < max(self._study.quorum, FEWEST_MASKED):
            raise BrokenRuleError((refusal("opened", privacy, TRAIN, "not a sum of this step"),))
        own, step = json.dumps([context.hex(), list(opening.opened)]), f"{self._run}/{opening.step}"
        with self._db.transaction():
            if self._db.fact("opened", step) is None:
                self._count_departure(opening, privacy)
            if self._db.fix("opened", step, own) != own:
                raise BrokenRuleError((refusal("opened", privacy, TRAIN, "another sum before"),))
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
        BrokenRuleError : this site signed another one, or none.
        SignatureError : a signature is missing or wrong.
        """
        context = opening.context(self._run, self._study.digest())
        signed = self._signed(opening.network, opening.variant, opening.round)
        keys = self._keys(opening, context)
        if keys is None or signed != (context.hex(), list(opening.opened)):
            raise BrokenRuleError((refusal("opened", privacy, TRAIN, "not what was signed"),))
        study = self._study
        check_signatures(opening, signatures, self._run, study.digest(), study.roster)
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

    def _signed(self, network: str, variant: str, number: int) -> tuple[str, list[str]] | None:
        stored = self._db.fact("opened", f"{self._run}/{network}/{variant}/{number}")
        if stored is None:
            return None
        context, opened = json.loads(stored)
        return context, opened

    def _keys(self, opening: Opening, context: bytes) -> StepKeys | None:
        about = (self._study.digest(), self._run, opening.step, context.hex())
        stored = self._db.step_keys(*about)
        if stored is None:
            return None
        found = json.loads(stored)
        pairs = {site: from_text(text, KEY_BYTES) for site, text in found["pairs"].items()}
        return StepKeys(from_text(found["own"], KEY_BYTES), pairs)
