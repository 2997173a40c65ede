"""What leaves a site: compared with what left before, written into the ledger, then let go."""

from __future__ import annotations

import builtins
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from flwr.app import RecordDict

from client.data.cohort import Cohort
from client.site import SiteSettings
from client.store.differencing import EarlierSums
from client.store.ledger import REFUSED, Ledger, ledger_path, question_of
from client.store.membership import Membership, Memberships, membership_refusal
from client.store.privacy_budget import PrivacyBudget
from client.store.rosters import Rosters
from client.store.state import RunTables
from common.disclosure import refusal, stricter
from common.ledger.entry import Decision, Item, Record, describe_item, request_digest
from common.masking import identity
from common.masking.agreement import roster_digest
from common.messages.codec import buffers_of, header_of, size_of
from common.messages.exchanges import (
    EnrolRequest,
    EvaluateRequest,
    Problem,
    Refusal,
    Refused,
    RowsRequest,
    SumRequest,
    TrainRequest,
)
from common.study.model import FEWEST_MASKED, Study

# failures of the machine, which tell nothing of the numbers
_MACHINE_FAULTS = frozenset(
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, OSError | MemoryError)
) | {"OutOfMemoryError"}
Shapes = dict[str, tuple[int, ...]]
# answers that tell of single patients, or of one hospital's test patients
_ABOUT_ROWS = ("query.rows", "evaluate.handout")


class Releases:
    """The releases of one site in one run.

    Parameters
    ----------
    settings : of the site; its identity key signs the ledger in its work folder.
    """

    def __init__(self, settings: SiteSettings, study: Study, run: str, cohort: Cohort) -> None:
        self._study, self._run, self._cohort = study, run, cohort
        self._privacy = stricter(study.privacy, settings.privacy)
        private = identity.load(settings.identity).private
        self._ledger = Ledger.open(ledger_path(settings.work), private)
        self._memberships = Memberships(settings.work)
        self._rosters = Rosters(settings.work)
        self._roster = roster_digest(study.roster)
        proven = [one for one in study.left if self._rosters.proves(one)]
        left = ((one.site, one.roster) for one in proven)
        self._earlier = EarlierSums(settings.work, study, left)
        self._known: dict[str, Membership] = {}
        self._budget = PrivacyBudget(RunTables(settings.work, run).folder)

    def refusals(self, exchange: str, request: Any) -> tuple[Refusal, ...]:
        """What was released before forbids to release now, whatever the numbers are.

        Two sums over cohorts or sites that differ by a few give these few away by subtraction.
        """
        items = list(self._items(exchange, request))
        found: list[Refusal] = []
        with self._ledger.exclusive():
            found.extend(self._too_many(exchange, items))
            for subset in dict.fromkeys(item.subset for item in items):
                now, known = self._membership(subset), self._ledger.memberships(subset)
                before = [self._memberships.recall(d).members for d in known if d != now.digest]
                changed = membership_refusal(before, now.members)
                if changed is not None:
                    found.append(changed)
            for item in items:
                found.extend(self._other_sites(item))
        return tuple({(r.rule, r.subject): r for r in found}.values())

    def record(self, exchange: str, request: Any, reply: Any, content: RecordDict) -> None:
        """Write a reply into the ledger; only when this returns may it leave."""
        decision, reason = _decision(reply)
        private = self._study.differential_privacy.on
        items = tuple(self._items(exchange, request))
        if decision == "released":
            for subset in dict.fromkeys(item.subset for item in items):
                self._memberships.keep(self._membership(subset))
            self._rosters.keep(self._study.roster)
        self._ledger.append(
            Record(
                run=self._run,
                exchange=exchange,
                exchange_id=_exchange_id(request),
                study=self._study.digest(),
                roster=self._roster,
                items=items,
                payload=_digest(content),
                size=size_of(content),
                decision=decision,
                reason=reason,
                epsilon=self.epsilon() if isinstance(request, TrainRequest) and private else None,
            )
        )

    def _too_many(self, exchange: str, items: Sequence[Item]) -> Iterator[Refusal]:
        """What refusals, failures and repeated answers would tell, one by one."""
        study, privacy = self._study.digest(), self._privacy
        if exchange == "query.enrol":
            return
        asked = {question_of(items)}
        if len(self._ledger.questions(study, REFUSED) - asked) >= privacy.max_refusals:
            yield refusal("refusals", privacy, "a study with many questions refused before")
        if exchange in _ABOUT_ROWS:
            known = self._ledger.questions(study, exchange)
            if len(known | asked) > privacy.max_releases:
                yield refusal("releases", privacy, "the same of other models before")
        tables: dict[str, set[str]] = defaultdict(set)
        for item in items:
            if item.subset != "train" and len(self._study.members(item.subset)) == 1:
                tables[item.statistic].add(item.request)
        for statistic, own in tables.items():
            earlier = self._ledger.released_before(statistic, study)
            if len(own | {one.request for one in earlier}) > privacy.max_releases:
                yield refusal("releases", privacy, "other tables of a set before")

    def epsilon(self) -> float:
        """What the run has cost a patient so far; 0 without differential privacy."""
        private = self._study.differential_privacy
        return self._budget.epsilon(private.delta) if private.on else 0.0

    def _membership(self, subset: str) -> Membership:
        """Of the cohort as it was read at the start of the run; it does not change in between."""
        if subset not in self._known:
            patients = self._cohort.subset(self._study, subset)
            self._known[subset] = self._memberships.of(p.patient_id for p in patients)
        return self._known[subset]

    def _other_sites(self, item: Item) -> Iterator[Refusal]:
        """The same patients summed with a few sites more or less give these few away.

        Whatever the sum is called: another name, or an idle step, may stand for the same numbers.
        """
        known = self._ledger.companions(item.membership) if item.participants else ()
        if known and self._earlier.tell_too_much(item.subset, item.participants, known):
            yield Refusal(
                "participants", FEWEST_MASKED, "sites changed since the same sum was released"
            )

    def _items(self, exchange: str, request: Any) -> Iterator[Item]:
        if isinstance(request, EnrolRequest):
            subsets = ["train"] if self._holds("train") else []
            subsets += [t.name for t in self._study.test_sets if self._holds(t.name)]
            for subset in subsets:
                yield self._item(
                    "enrolment", subset, request_digest(request.study), {"counts": (2,)}
                )
        elif isinstance(request, SumRequest):
            for asked in request.items:
                what = describe_item(asked.statistic, asked.view)
                shapes = asked.statistic.shapes(len(asked.view.outputs()))
                yield self._item(what, asked.subset, asked.digest, shapes, summed=True)
        elif isinstance(request, TrainRequest):
            what = f"weights: {request.network}/{request.variant}"
            shapes = {"weights": request.weights.shape if request.plan.epochs else (0,)}
            yield self._item(what, "train", request.digest, shapes, summed=True)
        elif isinstance(request, RowsRequest):
            what = f"out-of-fold rows: {', '.join(request.columns)}"
            shapes = {"probabilities": (len(request.columns),)}
            yield self._item(what, "train", request_digest(request.columns), shapes)
        elif isinstance(request, EvaluateRequest):
            digest = request_digest(request.bundle, request.edges, request.cuts)
            for subset in request.test_sets:
                yield self._item("evaluation of the final models", subset, digest, {})

    def _item(
        self, what: str, subset: str, request: str, shapes: Shapes, *, summed: bool = False
    ) -> Item:
        patients = self._cohort.subset(self._study, subset)
        masked = summed and self._study.masked(subset)
        membership = self._membership(subset).digest
        earlier = self._ledger.companions(membership) if masked else ()
        return Item(
            what=what,
            subset=subset,
            request=request,
            shapes=shapes,
            rows=len(patients),
            positives=sum(patient.label for patient in patients),
            membership=membership,
            participants=self._study.members(subset) if masked else (),
            left=tuple(sorted({site for one in earlier for site in self._earlier.gone(one)})),
        )

    def _holds(self, subset: str) -> bool:
        return bool(self._cohort.subset(self._study, subset))


def _decision(reply: Any) -> tuple[Decision, str]:
    if isinstance(reply, Refused):
        return "refused", reply.refusals[0].rule
    if isinstance(reply, Problem):
        return "stopped", "fault" if reply.kind in _MACHINE_FAULTS else "problem"
    return "released", ""


def _exchange_id(request: Any) -> str:
    """The coordinator's name for this exchange, the same at all sites."""
    if isinstance(request, SumRequest | TrainRequest):
        return f"{request.session}/{request.number}"
    return ""


def _digest(content: RecordDict) -> str:
    """SHA-256 of a reply as it is sent: header, then buffers by name."""
    digest = hashlib.sha256(header_of(content).encode())
    for name, array in sorted(buffers_of(content).items()):
        digest.update(f"\n{name}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()
