"""Compare every question with the one that this site's own run of the study asks next.

A coordinator that makes up a question, or the answers that questions follow from, is refused, and
the run ends at this site. What a coordinator with an accomplice among the sites can still ask for
is held by the rules of `common.disclosure`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from client.gate.derivation import Agreement, Answer, Derivation, Question, handout_digest
from client.gate.schema import StoppedError, expect
from client.site import LOG
from client.store.audited_totals import AuditedTotals
from client.store.derived_files import MOST_APART, DerivedFiles, DerivedWeights, StandIns
from client.store.group_key import (
    ENROLMENT,
    OTHER_ENROLMENTS,
    agreed_enrolments,
    recall_group_key,
)
from client.store.run_files import RunTables
from client.store.site_db import site_db
from common.errors import SignatureError, StudyError
from common.masking.fingerprint import P, check_total, fingerprint_of, pad, signed_of
from common.masking.fixed_point import framed
from common.masking.layout import RingSums, taken_apart
from common.masking.narrow import signed, unpack
from common.masking.update import SUMS, update_sizes
from common.messages.exchanges import (
    Agreed,
    EvaluateRequest,
    FollowRequest,
    KeyRequest,
    RowsRequest,
    SumItem,
    SumRequest,
    Totals,
    TrainRequest,
)
from common.messages.opening import OpenRequest, SignRequest, check_signatures
from common.messages.totals import APART, UPDATE, context_of, groups
from common.study.model import Study
from server.phases.protocol import NO_CONTROL

_OPENING_REQUESTS = (SignRequest, OpenRequest)
_DERIVED = (SumRequest, TrainRequest, RowsRequest, EvaluateRequest)
_STOPPED = "stopped"
_NOT_THEIR_SUMS = "the totals are not the sums of what the sites sent"
MOST_OPEN = 64
"""Derivations in one process; each has a thread, and goes on from its files when it is back."""
_OPEN: dict[tuple[Path, str], Verifier] = {}
_OPENING = threading.Lock()


def verifier_of(work: Path, site: str, study: Study, run: str) -> Verifier:
    """Return the verifier of a run at a site, one in a process."""
    with _OPENING:
        found = _OPEN.pop((work, run), None)
        if found is not None and found.study.digest() != study.digest():
            found.end()
            found = None
        while len(_OPEN) >= MOST_OPEN:  # of a coordinator that begins run after run
            _OPEN.pop(next(iter(_OPEN))).end()
        _OPEN[work, run] = found or Verifier(work, site, study, run)
        return _OPEN[work, run]


def forget_all() -> None:
    """Drop every verifier of this process, as ending the process would."""
    with _OPENING:
        while _OPEN:
            _OPEN.popitem()[1].end()


class Verifier:
    """Verifier of one run at one site."""

    def __init__(self, work: Path, site: str, study: Study, run: str) -> None:
        self.study = study
        self._work, self._site, self._run = work, site, run
        folder = RunTables(work, run).folder
        self._files, self._audited = DerivedFiles(folder), AuditedTotals(folder)
        self._db = site_db(work)
        self._derivation: Derivation | None = None
        self._one_at_a_time = threading.Lock()

    def check(self, request: Any) -> Any:
        """Return a request that this site derives too, with the weights that it names.

        Raises
        ------
        StoppedError : it asks something else, or names answers that the sites did not give.
        """
        with self._one_at_a_time:
            if not isinstance(request, (*_DERIVED, *_OPENING_REQUESTS, FollowRequest, KeyRequest)):
                return request
            self._expect_going_on()
            if isinstance(request, _OPENING_REQUESTS):
                return request  # it names a question that this site has derived and answered
            try:
                if isinstance(request, KeyRequest):
                    self._hear_enrolments(request)
                    return request
                return self._derived(request)
            except StoppedError as stop:
                LOG.error("site %s: %s", self._site, stop.what)
                if stop.code == "not_derived":
                    self.stop(stop.what)
                raise

    def recall(self, request: Any) -> Any:
        """Return a request that another process of this site has checked, with its weights.

        The gate notes every question of its own derivation before the app hears of it, so the app
        compares and derives nothing: for a large network that would take as long once more.

        Raises
        ------
        StoppedError : the gate has derived no such question.
        """
        if not isinstance(request, _DERIVED):
            return request if isinstance(request, FollowRequest) else self.check(request)
        with self._one_at_a_time:
            self._expect_going_on()
            if isinstance(request, TrainRequest):
                request = self._files.completed(request)
            known = self._known(request.number)
            noted = known is not None and known[1] == self._digest(request)
            words = f"question {request.number}: the gate has derived no such question"
            expect(noted, "not_derived", words)
            return request

    def forget_keys_after(self, request: Any) -> None:
        """Delete this site's keys of the run where its last answer is about to leave.

        Should that answer be lost, the sites agree on new keys before it is asked for again. The
        totals go that were kept for the audit, too.
        """
        if self.is_last(request):
            self._db.forget_run_keys(self.study.digest(), self._run)
            self._audited.forget()

    def is_last(self, request: Any) -> bool:
        """Say whether nothing is asked of this site after this question."""
        number = getattr(request, "number", -1)
        with self._one_at_a_time:
            over = self._derivation is not None and self._derivation.over
            return over and number >= self._db.last_number("question", self._run)

    def stop(self, why: str) -> None:
        """Answer nothing more of this run, also after a restart."""
        self._db.fix("derivation", f"{self._run}/{_STOPPED}", why)

    def end(self) -> None:
        """End the derivation, once it is idle."""
        with self._one_at_a_time:
            self._end()

    def _end(self) -> None:
        if self._derivation is not None:
            self._derivation.end()
            self._derivation = None

    def _expect_going_on(self) -> None:
        """Answer nothing once the run was stopped here."""
        self._expect_own_run()
        stopped = self._db.fact("derivation", f"{self._run}/{_STOPPED}")
        expect(stopped is None, "not_derived", f"the run was stopped here before: {stopped}")

    def _expect_own_run(self) -> None:
        """Keep the name of the run, by which answers are kept, for one study."""
        study = self.study.digest()
        own = self._db.fix("derivation", f"{self._run}/study", study) == study
        expect(own, "not_derived", "a run of this name belongs to another study")

    # -- the enrolments ------------------------------------------------------------------------

    def _hear_enrolments(self, request: KeyRequest) -> None:
        """Keep what all sites said of themselves.

        Once they have agreed on it, a later session must not change it. Before, the coordinator
        alone says so, and may say something else in every session, heard in any order.
        """
        said = tuple(one.site for one in request.enrolments)
        expect(
            said == self.study.site_names,
            OTHER_ENROLMENTS,
            f"{ENROLMENT}: not the enrolments of all sites",
        )
        agreed = self._agreed()
        if agreed is None:
            self._files.keep_enrolled(request)
            return
        expect(
            _facts(agreed) == _facts(request),
            OTHER_ENROLMENTS,
            f"{ENROLMENT}: patients or columns of a site are others than when all sites agreed on"
            " a key of this run",
        )

    def _agreed(self) -> KeyRequest | None:
        """Return the enrolments that all sites agreed on, None before they have."""
        digest = agreed_enrolments(self._work, self._run)
        return None if digest is None else self._files.enrolled(digest)

    # -- the questions -------------------------------------------------------------------------

    def _derived(self, request: Any) -> Any:
        derivation = self._going_on()
        for entry in request.progress:
            self._hear(derivation, entry)
        frontier = self._settled(derivation)
        number = request.number
        if isinstance(request, FollowRequest):
            return replace(request, progress=())
        if isinstance(request, TrainRequest):
            request = self._with_weights(derivation, request)
        asked = self._digest(request)
        known = self._known(number)
        if known is None:
            waits = f"the answer to question {frontier}" if frontier is not None else "nothing more"
            raise StoppedError(
                "not_derived",
                f"phase {derivation.phase}, question {number}: the study waits for {waits}",
            )
        phase, wanted = known
        expect(
            asked == wanted,
            "not_derived",
            f"phase {phase}, question {number}: this site derives another question",
        )
        if isinstance(request, TrainRequest):
            self._files.offer(DerivedWeights(number, request.weights, request.control))
        return request

    def _with_weights(self, derivation: Derivation, request: TrainRequest) -> TrainRequest:
        """Return the request for an update with the weights that it starts from.

        The last one of a training may come when its weights are known from the training's result
        alone: the study does not wait for it where rounds go on without some sites.
        """
        question = derivation.asked.get(request.number)
        own = question.asked if question is not None else None
        if isinstance(own, TrainRequest) and not request.weights.size:
            return request.with_weights(own.weights, own.control)
        if own is None and not request.weights.size:
            weights = derivation.result_of(request.network, request.variant)
            if weights is not None:
                return request.with_weights(weights, NO_CONTROL)
        expect(
            isinstance(own, TrainRequest) or (own is None and request.weights.size > 0),
            "not_derived",
            f"phase {derivation.phase}, question {request.number}: not one for an update",
        )
        return request

    def _going_on(self) -> Derivation:
        """Return the derivation, which goes on from the files after a restart."""
        own = self._derivation
        if own is not None and own.waiting is not None and own.waiting < self._files.used_up():
            self._end()  # another process of this site has gone further
        if self._derivation is None:
            agreed = self._agreed()
            if agreed is None:
                raise StoppedError("not_derived", f"{ENROLMENT}: the sites have agreed on no key")
            self._derivation = Derivation(
                self.study, agreed.enrolments, self._run, self._files, self._remember
            )
            self._derivation.start()
        return self._derivation

    def _settled(self, derivation: Derivation) -> int | None:
        """Wait for the derivation; return the question whose answer it waits for."""
        try:
            frontier = derivation.settled()
            # another process of this site may have heard the answer
            while frontier is not None and (kept := self._files.entry(frontier)) is not None:
                derivation.give(kept)
                frontier = derivation.settled()
        except StoppedError:
            self._end()
            raise
        except StudyError as error:
            self._end()
            raise StoppedError("derivation_failed", str(error)) from None
        return frontier

    def _remember(self, question: Question) -> None:
        """Remember what this site is to be asked; deriving it once more must not change it."""
        own = question.digests.get(self._site)
        if own is None:
            return
        stands = self._db.fix(
            "question", f"{self._run}/{question.number}", f"{question.phase} {own}"
        )
        expect(
            stands.split(" ")[1] == own,
            "not_derived",
            f"phase {question.phase}, question {question.number}: derived once more after a"
            " restart, it is another one",
        )

    def _known(self, number: int) -> tuple[str, str] | None:
        stored = self._db.fact("question", f"{self._run}/{number}")
        if stored is None:
            return None
        phase, digest = stored.split(" ")
        return phase, digest

    def _digest(self, request: Any) -> str:
        if isinstance(request, EvaluateRequest):
            asked = request.test_sets, request.edges, request.cuts
            try:
                return handout_digest(request.bundle, *asked)
            except Exception as error:  # of files that somebody else made
                raise StoppedError("not_derived", f"no bundle: {type(error).__name__}") from None
        digest: str = request.digest
        return digest

    # -- the answers ---------------------------------------------------------------------------

    def _hear(self, derivation: Derivation, entry: Answer) -> None:
        """Take an answer if the derivation waits for it; one that it has had is passed over."""
        frontier = self._settled(derivation)
        if frontier is None or entry.number < frontier:
            return
        question = derivation.asked[frontier]
        where = f"phase {question.phase}, question {frontier}"
        expect(
            entry.number == frontier,
            "not_derived",
            f"{where}: the answer to question {entry.number} came",
        )
        if isinstance(question.asked, Agreement):
            self._check_agreed(question.asked, entry, where)
        else:
            self._check_totals(question, entry, where)
        if isinstance(question.asked, tuple) and isinstance(entry, Totals):
            self._audited.keep(question.asked, entry)
        self._files.keep(entry)
        derivation.give(entry)

    def _check_agreed(self, own: Agreement, entry: Answer, where: str) -> None:
        if not isinstance(entry, Agreed) or entry.name != own.name:
            raise StoppedError("not_derived", f"{where}: no value of {own.name}")
        try:
            apart, equal = own.apart(entry.value), own.equals(entry.value)
        except Exception as error:  # whatever it is, it is not such a value
            raise StoppedError("not_derived", f"{where}: {type(error).__name__}") from None
        expect(
            apart <= 1.0,
            "not_derived",
            f"{where}: the coordinator's {own.name} cannot stand in place of this site's",
        )
        if not equal:
            LOG.info(
                "site %s: goes on with the coordinator's %s; its own differs in the last digits",
                *(self._site, own.name),
            )
            stand_ins = StandIns(self._db, self._run)
            stand_ins.remember(entry.number, own.name, apart)
            within = stand_ins.together <= MOST_APART
            expect(
                within,
                "not_derived",
                f"{where}: each of the coordinator's {stand_ins.count} solutions may stand in place"
                " of this site's, but together they differ by more than processors do",
            )

    def _check_totals(self, question: Question, entry: Answer, where: str) -> None:
        """Check a total against the fingerprints that all sites made of their parts."""
        if not isinstance(entry, Totals):
            raise StoppedError("not_derived", f"{where}: no totals")
        key = recall_group_key(self._work, self._run, entry.session)
        if key is None:
            raise StoppedError("not_derived", f"{where}: totals of a session without a key")
        if isinstance(question.asked, TrainRequest) and question.asked.plan.invited:
            self._check_opened(question.asked, entry, key, where)
            return
        if isinstance(question.asked, TrainRequest):
            sums = self._update_sums(question.asked, entry)
        else:
            sums = self._item_sums(question.asked, entry)
        fits = len(sums) == entry.fingerprints.size
        expect(fits, "not_derived", f"{where}: totals of another question")
        for (subset, digests, vectors), told in zip(sums, entry.fingerprints.tolist(), strict=True):
            sites = self.study.members("train" if subset == UPDATE else subset)
            context = context_of(self._run, entry.session, question.number, subset, sites, digests)
            own = _fingerprint(key, context, vectors, where) + pad(key, context)
            expect(own % P == told, "not_derived", f"{where}: {_NOT_THEIR_SUMS}")

    def _check_opened(self, asked: TrainRequest, entry: Totals, key: bytes, where: str) -> None:
        """Check the sum of an update over some of the sites, and that all of them signed it."""
        opening = replace(
            asked.opening,
            session=entry.session,
            number=entry.number,
            opened=entry.opened,
            attempt=entry.attempt,
        )
        ordered = tuple(site for site in opening.invited if site in opening.opened)
        enough = opening.opened == ordered and len(ordered) >= self.study.quorum
        expect(enough, "not_derived", f"{where}: not a sum over a quorum of the sites asked")
        try:
            study, roster = self.study.digest(), self.study.roster
            check_signatures(opening, entry.signatures, self._run, study, roster)
        except SignatureError as error:
            raise StoppedError("not_derived", f"{where}: {error}") from None
        apart = set(ordered) == set(self.study.training_sites)
        found = self._update_sums(asked, entry)
        fits = bool(found) and entry.fingerprints.size == 1 + apart
        expect(fits, "not_derived", f"{where}: totals of another question")
        ring32, narrow, ring64 = found[0][2]
        statistics = ring64.copy()
        statistics[-SUMS:] = 0
        about, digests = (self._run, entry.session, entry.number), [asked.digest]
        context = context_of(*about, UPDATE, opening.invited, digests)
        own = _fingerprint(key, context, [ring32, narrow, statistics], where)
        own += sum(pad(key, framed(context, site)) for site in ordered)
        told = entry.fingerprints.tolist()
        expect(own % P == told[0], "not_derived", f"{where}: {_NOT_THEIR_SUMS}")
        sums = entry.ring64[-SUMS:]
        if not apart:
            expect(not sums.any(), "not_derived", f"{where}: losses of some of the sites")
            return
        context = context_of(*about, APART, self.study.training_sites, digests)
        own = _fingerprint(key, context, [sums], where) + pad(key, context)
        expect(own % P == told[1], "not_derived", f"{where}: {_NOT_THEIR_SUMS}")

    def _update_sums(self, asked: TrainRequest, entry: Totals) -> list[Any]:
        grid = asked.plan.grid
        expected = update_sizes(asked.trained, asked.running, asked.control.size, grid)
        try:
            narrow = signed(unpack(entry.narrow, expected[1], grid.width), grid.width)
        except ValueError:
            return []
        if (entry.ring32.size, narrow.size, entry.ring64.size) != expected:
            return []
        return [(UPDATE, [asked.digest], [entry.ring32, narrow, entry.ring64])]

    def _item_sums(self, items: tuple[SumItem, ...], entry: Totals) -> list[Any]:
        own = {name: [items[p] for p in places] for name, places in groups(items).items()}
        of_item = [(i.statistic, len(i.view.outputs())) for each in own.values() for i in each]
        try:
            parts = iter(taken_apart(RingSums(entry.ring64, entry.ring32), of_item))
        except ValueError:
            return []
        found = []
        for name, asked in own.items():
            rings = [next(parts) for _ in asked]
            vectors = [*(ring.ring64 for ring in rings), *(ring.ring32 for ring in rings)]
            found.append((name, [item.digest for item in asked], vectors))
        return [] if entry.narrow.size else found


def _facts(request: KeyRequest) -> str:
    """Return what the study's program reads of enrolments."""
    return repr([(one.site, one.counts, one.columns, one.readings) for one in request.enrolments])


def _fingerprint(key: bytes, context: bytes, vectors: Sequence[Any], where: str) -> int:
    """Return the fingerprint of totals that are small enough to have no other of the same."""
    numbers = [signed_of(vector) for vector in vectors]
    try:
        for vector in numbers:
            check_total(vector)
    except ValueError as error:
        raise StoppedError("not_derived", f"{where}: {error}") from None
    return fingerprint_of(key, context, numbers)
