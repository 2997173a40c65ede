"""Run of the study's program at a site: the questions that it asks next, one after the other.

The program is the one that the coordinator runs (`server.phases.program`). It runs in a thread,
which asks into a list and waits where an answer is needed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from client.gate.schema import StoppedError
from client.store.derived_files import DerivedFiles
from common.bundle.bundle import Bundle, Files
from common.errors import StudyError
from common.ledger.entry import request_digest
from common.masking.layout import RingSums, from_rings, taken_apart
from common.masking.narrow import unpack
from common.masking.update import UpdateRings, from_update_rings, update_sizes
from common.messages.checkpoint import Checkpoint, Slot
from common.messages.exchanges import (
    Agreed,
    EnrolReply,
    Ranges,
    RoundPlan,
    RowsRequest,
    SumItem,
    Totals,
    TrainRequest,
    Weights,
)
from common.messages.totals import groups
from common.models import NETWORKS, NetworkName, load_models
from common.statistics.base import Float
from common.study.model import Study
from common.transforms.views import View
from server.phases import protocol
from server.phases.networks import TrainedNetwork, TrainingState, variants
from server.phases.program import Training, run_program
from server.phases.protocol import NO_CONTROL, NOTHING_TRAINED, UNREAD, OutOfFoldRows, TrainingRound

# an answer may hold a value of any phase before the run here has come to it
load_models()
T = TypeVar("T")
Answer = Totals | Agreed


@dataclass(frozen=True)
class Question:
    """A question that the study asks next.

    Parameters
    ----------
    number : in the run.
    phase : that asks it, for the screen.
    digest : by site that is asked, of what it is asked; empty for an agreement.
    asked : items of sums, the request for an update, or an agreement.
    waits : whether later questions depend on the answer.
    """

    number: int
    phase: str
    digests: Mapping[str, str]
    asked: Any
    waits: bool


@dataclass(frozen=True)
class Agreement:
    """A value of a solver, and how far the coordinator's is from it, see `Federation.agreed`."""

    name: str
    value: Any
    apart: Callable[[Any], float]

    def equals(self, theirs: Any) -> bool:
        """Compare to the last bit; a value that only the coordinator can have equals any."""
        return self.value is UNREAD or request_digest(self.value) == request_digest(theirs)


class EndedError(Exception):
    """The derivation was ended from outside."""


class Derivation:
    """The program in its thread.

    Parameters
    ----------
    study : as approved.
    enrolments : what every site said of itself.
    run : name of the run.
    files : of the run at this site, from which it goes on after a restart.
    remember : called with every question before the program goes on: what follows may drop it, and
        a restart may skip it, before anybody has asked it. What it raises ends the program.
    """

    def __init__(
        self,
        study: Study,
        enrolments: Sequence[EnrolReply],
        run: str,
        files: DerivedFiles,
        remember: Callable[[Question], None],
    ) -> None:
        self.study, self.run, self.files, self._remember = study, run, files, remember
        self.members = {one.site: one for one in enrolments}
        self.asked: dict[int, Question] = {}
        self.waiting: int | None = None
        self.phase = "enrolment"
        self._answers: dict[int, Answer] = {}
        self._failed: BaseException | None = None
        self._done = self._ended = False
        self._changed = threading.Condition()
        self._steps: _Steps | None = None
        self._thread = threading.Thread(target=self._run, name=f"derivation {run}", daemon=True)

    def start(self) -> None:
        """Begin, or go on from the files."""
        self._thread.start()

    def settled(self) -> int | None:
        """Wait until the program needs an answer; return that question's number, None at its end.

        Raises
        ------
        StudyError : the program failed, or a question could not be remembered.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.waiting is not None or self._done)
            if isinstance(self._failed, StoppedError):
                raise self._failed
            if self._failed is not None:
                raise StudyError(
                    f"the site's own run of the study failed: {type(self._failed).__name__}:"
                    f" {self._failed}",
                    where=self.phase,
                ) from self._failed
            return self.waiting

    @property
    def over(self) -> bool:
        """Return whether the program has come to its end."""
        with self._changed:
            return self._done and self._failed is None and not self._ended

    def give(self, answer: Answer) -> None:
        """Give the answer to the question that the program waits for."""
        with self._changed:
            self._answers[answer.number] = answer
            self.waiting = None
            self._changed.notify_all()

    def end(self) -> None:
        """End the thread."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def put(self, question: Question) -> Any:
        """Ask, from within the program; return the answer where later questions depend on it.

        Raises
        ------
        EndedError : the derivation is ended.
        """
        self._remember(question)
        with self._changed:
            self.asked[question.number] = question
            if not question.waits:
                return None
            kept = self.files.entry(question.number)
            if kept is None:
                self.waiting = question.number
                self._changed.notify_all()
                self._changed.wait_for(lambda: question.number in self._answers or self._ended)
                if self._ended:
                    raise EndedError
                kept = self._answers.pop(question.number)
            return kept

    def result_of(self, network: str, variant: str) -> Weights | None:
        """Return the weights of a training that has ended, None while there are none."""
        known = network in NETWORKS and variant in variants(self.study)  # part of a file's name
        return self._steps.result_of(network, variant) if known and self._steps else None

    def forget_before(self, number: int) -> None:
        """Drop questions and answers that a finished step, or a round, has used up."""
        with self._changed:
            for old in [n for n in self.asked if n < number - 1]:
                del self.asked[old]
        self.files.forget_before(number)

    def _run(self) -> None:
        try:
            with threadpool_limits(limits=1):
                sites = _Sites(self)
                self._steps = _Steps(self, sites)
                run_program(sites, self._steps, {})
        except EndedError:
            pass
        except BaseException as error:
            self._failed = error
        finally:
            with self._changed:
                self._done = True
                self._changed.notify_all()


class _Sites(protocol.Federation):
    """The sites of the study as the program sees them: every question goes to the derivation."""

    def __init__(self, derivation: Derivation) -> None:
        self.study, self.members = derivation.study, derivation.members
        self._derivation, self.number = derivation, 0

    def sum_many(self, items: Sequence[SumItem]) -> list[Any]:
        """Ask for sums; those that no later question reads are unread."""
        own = {
            site: request_digest(*digests)
            for site in self.study.site_names
            if (digests := [i.digest for i in items if site in self.study.members(i.subset)])
        }
        places = [place for found in groups(items).values() for place in found]
        answer = self._ask(own, tuple(items), waits=bool(places))
        results: list[Any] = [UNREAD] * len(items)
        if not places:
            return results
        of_place = [(items[p].statistic, len(items[p].view.outputs())) for p in places]
        totals = taken_apart(RingSums(answer.ring64, answer.ring32), of_place)
        for place, (statistic, width), total in zip(places, of_place, totals, strict=True):
            results[place] = statistic.finalise(from_rings(statistic, total, width))
        return results

    def train(
        self,
        network: str,
        variant: str,
        weights: Weights,
        running: Ranges,
        plan: RoundPlan,
        *,
        control: Weights = NO_CONTROL,
        singly: bool = False,
    ) -> TrainingRound:
        """Ask for an update, or for the loss of the weights."""
        request = TrainRequest(
            run=self._derivation.run,
            study=self.study.digest(),
            session="",
            number=self.number,
            network=network,
            variant=variant,
            weights=weights,
            running=running,
            plan=plan,
            keys=(),
            control=control,
        )
        digests = dict.fromkeys(plan.invited or self.study.training_sites, request.digest)
        waits = not (plan.keep and self.study.quorum)
        answer: Totals | None = self._ask(digests, request, waits=waits)
        if answer is None:
            return NOTHING_TRAINED
        size = update_sizes(request.trained, running, control.size, plan.grid)[1]
        narrow = unpack(answer.narrow, size, plan.grid.width)
        rings = UpdateRings(answer.ring32.copy(), narrow, answer.ring64.copy())
        total = from_update_rings(rings, request.trained, running, plan.grid)
        return TrainingRound.of(total, present=answer.opened)

    def rows(self, columns: Mapping[str, View], fitting: Float) -> OutOfFoldRows:
        """Ask for pooled rows, which no site hears of."""
        request = RowsRequest(
            run=self._derivation.run,
            study=self.study.digest(),
            columns=dict(columns),
            fitting=fitting,
            counts={s: self.members[s].counts["train"][0] for s in self.study.training_sites},
            keys=(),
        )
        digests = dict.fromkeys(self.study.training_sites, request.digest)
        self._ask(digests, request, waits=False)
        unread: OutOfFoldRows = UNREAD
        return unread

    def evaluate(
        self, files: Mapping[str, Any], edges: Float, cuts: Mapping[str, float]
    ) -> dict[str, Any]:
        """Hand the final models out; what sites say of their own test patients is unread."""
        digests = {}
        for site in self.study.site_names:
            sets = tuple(t.name for t in self.study.test_sets if site in t.sites)
            if sets:
                digests[site] = handout_digest(files, sets, edges, cuts)
        self._ask(digests, None, waits=False)
        unread: dict[str, Any] = UNREAD
        return unread

    def agreed(self, name: str, value: T, apart: Callable[[T], float]) -> T:
        """Take the coordinator's value, if it may stand in place of this site's."""
        answer: Agreed = self._ask({}, Agreement(name, value, apart), waits=True)
        taken: T = answer.value
        return taken

    def _ask(self, digests: Mapping[str, str], asked: Any, *, waits: bool) -> Any:
        number, self.number = self.number, self.number + 1
        return self._derivation.put(Question(number, self._derivation.phase, digests, asked, waits))


def handout_digest(
    files: Mapping[str, Any],
    sets: Sequence[str],
    edges: Float,
    cuts: Mapping[str, float],
) -> str:
    """Return the digest of all that a hand-out asks, but the coordinator's versions and signature.

    Raises
    ------
    InputError : files that are no bundle.
    """
    bundle = replace(Bundle.from_files(dict(files)), software={})
    return request_digest(bundle.to_files(), tuple(sets), np.asarray(edges), dict(cuts))


def _training_name(network: str, variant: str) -> str:
    return f"{network}-{variant}"


class _Steps:
    """Surroundings of the program: results of finished steps are kept, as the coordinator does."""

    def __init__(self, derivation: Derivation, sites: _Sites) -> None:
        self._derivation, self._sites = derivation, sites
        folder, digest = derivation.files.folder / "steps", derivation.study.digest()
        self._checkpoint = Checkpoint(folder, digest, lambda: {"number": sites.number})

    def step(self, name: str, work: Callable[[], T], *, phase: str = "") -> T:
        """Return the kept result of a step, or run it and keep what it returns."""
        self._derivation.phase = phase or name
        if self._checkpoint.has(name):
            stored: T = self._checkpoint.read(name)
            self._go_on_after(name)
            return stored
        value: T = self._checkpoint.step(name, work)
        self._derivation.forget_before(self._sites.number)
        return value

    def training(
        self, network: NetworkName, variant: str, rounds: int, train: Training
    ) -> TrainedNetwork:
        """Return the kept result of a training, or go on after its last round."""
        name = _training_name(network, variant)
        slot = Slot(self._checkpoint, f"{name}-rounds")

        def after_round(state: TrainingState) -> None:
            slot.write(state)
            self._derivation.forget_before(self._sites.number)

        def work() -> TrainedNetwork:
            begun = slot.read()
            if begun is not None:
                self._go_on_after(slot.name)
            return train(begun=begun, after_round=after_round)

        trained = self.step(name, work, phase=network)
        slot.clear()
        return trained

    def result_of(self, network: str, variant: str) -> Weights | None:
        """Return the weights of a training that has ended, None while there are none."""
        name = _training_name(network, variant)
        if not self._checkpoint.has(name):
            return None
        trained: TrainedNetwork = self._checkpoint.read(name)
        return trained.weights

    def files(self, bundle: Bundle) -> Files:
        """Return the files of the final bundle, which the site compares with those handed out."""
        return bundle.to_files()

    def _go_on_after(self, name: str) -> None:
        # a step that two phases share is read again later
        done = int(self._checkpoint.notes(name)["number"])
        self._sites.number = max(self._sites.number, done)
