"""Releases of a site: compared with what left before, remembered, then let go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flwr.app import RecordDict

from client.data.cohort import Cohort
from client.site import SiteSettings
from client.store.cohorts import Membership, Memberships, changed_by_few
from client.store.departures import ANY_STUDY, Departures
from client.store.heads import OtherRolledBackError
from client.store.ledger import Ledger
from client.store.masks import Rosters
from client.store.patient_budget import PatientBudget
from client.store.patient_values import PatientValues, Values
from client.store.privacy_budget import epsilon_of
from client.store.run_files import RunTables
from client.store.run_keys import RestartedError
from client.store.site_db import (
    REFUSED,
    Companions,
    Draft,
    question_of,
    recall_study,
    site_db,
    table_kind,
)
from client.store.updates import is_stored
from common.disclosure.differencing import told_by_difference, under_key
from common.disclosure.gradients import check_rounds, tables_read
from common.disclosure.rule import TRAIN, once, refusal, stricter
from common.errors import StudyError
from common.ledger.entry import (
    Decision,
    Item,
    Record,
    describe_item,
    describe_opening,
    describe_training,
    request_digest,
)
from common.masking import identity
from common.masking.agreement import roster_digest
from common.messages.codec import digest_of, size_of
from common.messages.exchanges import (
    EnrolRequest,
    EvaluateRequest,
    Problem,
    Refusal,
    Refused,
    RowsRequest,
    SumItem,
    SumRequest,
    TrainRequest,
)
from common.messages.opening import OpenRequest, SignRequest
from common.messages.problems import MACHINE
from common.study.model import Study
from common.study.sums import masked_over, split_of
from common.utils.durable import alone

if TYPE_CHECKING:
    from client.imaging.prepared import PreparedImages

# stops before anything is computed
_NOT_OF_NUMBERS = (RestartedError.kind, OtherRolledBackError.kind)
Shapes = dict[str, tuple[int, ...]]
# answers that tell of single patients, or of one hospital's test patients
_ABOUT_ROWS = ("query.rows", "evaluate.handout")


class Releases:
    """The releases of one site in one run.

    Parameters
    ----------
    settings : of the site; its identity key signs the ledger in its work folder.
    images : None = the study needs none, or they are not prepared yet.
    """

    def __init__(
        self,
        settings: SiteSettings,
        study: Study,
        run: str,
        cohort: Cohort,
        draft: Draft | None = None,
        images: PreparedImages | None = None,
    ) -> None:
        self._settings, self._study, self._run, self._cohort = settings, study, run, cohort
        self._privacy = stricter(study.privacy, settings.privacy)
        self._db = site_db(settings.work)
        self._draft = draft or Draft(settings.work)
        self._ledger = Ledger(settings.work, identity.load(settings.identity).private)
        self._ledger.catch_up()
        self._memberships, self._rosters = Memberships(settings.work), Rosters(settings.work)
        self._roster = roster_digest(study.roster)
        self._earlier = EarlierSums.of(settings.work, study)
        self._patient_values = PatientValues(settings.work, study, images)
        self._known: dict[str, Membership] = {}
        self._values: dict[str, Values] = {}

    def refusals(self, exchange: str, request: Any) -> tuple[Refusal, ...]:
        """Refuse what earlier releases forbid to release now, whatever the numbers are.

        Two sums over cohorts or sites that differ by a few give these few away by subtraction.
        """
        with self._db.transaction():
            return self._forbidden(exchange, request, tuple(self._items(exchange, request)))

    @contextmanager
    def reserve(self, exchange: str, request: Any) -> Iterator[tuple[Refusal, ...]]:
        """Reserve a release before anything is computed; yield what forbids it.

        All questions that are being answered count as if each were answered, and as if each were
        refused, so that many at once get no more than one after the other would. An identical
        question waits until this one is answered. What a process had reserved when it died goes on
        counting until the same question is answered.
        """
        with alone(self._db.path.parent / "reserved" / f"{_name(request)[:3]}.lock"):
            with self._db.transaction():
                items = tuple(self._items(exchange, request))
                forbidden = self._forbidden(exchange, request, items)
                if not forbidden:
                    self._reserve(exchange, request, items)
            yield forbidden

    def _reserve(self, exchange: str, request: Any, items: Sequence[Item]) -> None:
        question = question_of(items)
        counts = [(REFUSED, question)]
        for kind, own in self._limited(exchange, items).items():
            counts += [(kind, one) for one in own]
        counts += [(kind, item.digest) for item, _, kind in _gradients(request)]
        self._db.reserve(self._study.digest(), question, counts)

    def record(
        self, exchange: str, request: Any, reply: Any, content: RecordDict
    ) -> tuple[Refusal, ...]:
        """Remember a reply and write it into the ledger; only when this returns may it leave.

        Returns
        -------
        refusals : what another process has released meanwhile forbids the reply: nothing of it is
            remembered, and a refusal has to be recorded in its place. Mostly none.
        """
        decision, reason = _decision(reply)
        with self._db.transaction():
            items = tuple(self._items(exchange, request))
            self._db.settle(self._study.digest(), question_of(items))
            if decision == "released":
                if forbidden := self._forbidden(exchange, request, items):
                    self._draft.drop()
                    return forbidden
                self._remember(exchange, request, items)
            self._draft.drop()
            private = self._study.differential_privacy.on and isinstance(request, TrainRequest)
            self._ledger.add(
                Record(
                    run=self._run,
                    exchange=exchange,
                    exchange_id=_exchange_id(request),
                    study=self._study.digest(),
                    roster=self._roster,
                    items=items,
                    payload=digest_of(content),
                    size=size_of(content),
                    decision=decision,
                    reason=reason,
                    epsilon=self.epsilon() if private else None,
                )
            )
        self._ledger.catch_up()
        return ()

    def _remember(self, exchange: str, request: Any, items: Sequence[Item]) -> None:
        for subset in dict.fromkeys(item.subset for item in items):
            self._memberships.keep(self.membership(subset))
            if exchange != "query.enrol":  # which tells numbers of patients alone
                self._patient_values.keep(self._values_of(subset))
        self._rosters.keep(self._study.roster)
        study = self._study.digest()
        self._db.ask((study, kind, item.digest) for item, _, kind in _gradients(request))
        self._draft.remember()

    def _forbidden(self, exchange: str, request: Any, items: Sequence[Item]) -> tuple[Refusal, ...]:
        found = [*self._too_many(exchange, items), *self._too_many_gradients(request)]
        for subset in dict.fromkeys(item.subset for item in items):
            before = self._memberships.earlier()
            if changed_by_few(before, self.membership(subset).members):
                found.append(refusal("membership", self._privacy, ""))
            if not self._settings.corrections:
                found.extend(self._read_otherwise(subset))
        for item in items:
            asks = exchange == "query.enrol" and self._study.masked(item.subset)
            over = self._study.members(item.subset) if asks else item.participants
            found.extend(self._other_sites(item, over))
        if self._over_budget(request):
            found.append(refusal("privacy_budget", self._privacy, TRAIN))
        return once(found)

    def _too_many(self, exchange: str, items: Sequence[Item]) -> Iterator[Refusal]:
        """Refuse what refusals, failures and repeated answers would reveal, one by one."""
        study, privacy = self._study.digest(), self._privacy
        if exchange == "query.enrol":
            return
        asked = {question_of(items)}
        if len(self._db.counted(study, REFUSED) - asked) >= privacy.max_refusals:
            yield refusal("refusals", privacy, "")
        for kind, own in self._limited(exchange, items).items():
            together = len(own | self._db.counted(study, kind))
            if kind == "query.rows" and together > 1:
                yield refusal("rows_once", privacy, TRAIN)
            elif together > privacy.max_releases:
                yield refusal("releases", privacy, "")

    def _limited(self, exchange: str, items: Sequence[Item]) -> dict[str, set[str]]:
        """Return the questions of which a study may ask few different ones, by kind."""
        found: dict[str, set[str]] = defaultdict(set)
        if exchange in _ABOUT_ROWS:
            found[exchange].add(question_of(items))
        for item in items:
            if item.subset != "train" and len(self._study.members(item.subset)) == 1:
                found[table_kind(item)].add(item.request)
        return found

    def _too_many_gradients(self, request: Any) -> Iterator[Refusal]:
        """Refuse more different gradients on a table than the study needs; each says a little.

        The same question once more, as after an interruption or in another run, has the same
        answer and counts once.
        """
        asked: dict[str, set[str]] = {}
        for item, base, kind in _gradients(request):
            earlier = self._db.counted(self._study.digest(), kind)
            known = asked.setdefault(kind, set(earlier))
            known.add(item.digest)
            counts = {base: len(known)}
            yield from check_rounds(item.statistic, counts, self._study, self._privacy)

    def _over_budget(self, request: Any) -> bool:
        """Say if a training, or all of the study's, would cost more than these patients have left.

        In the end the reply counts as what its training did cost.
        """
        if self._settings.max_epsilon is None:
            return False
        budget = PatientBudget.of(self._settings, self._study, self._cohort)
        if isinstance(request, EnrolRequest):
            return budget.exceeded_by((*budget.spent(but=self._run), *budget.whole_study()))
        if not isinstance(request, TrainRequest) or not request.plan.epochs:
            return False
        under_way = self._draft.own_spendings(self._run)
        folder = RunTables(self._settings.work, self._run).folder
        if not under_way and not is_stored(folder, self._db, request):
            plan = request.plan
            under_way = (budget.training(request.network, request.variant, plan.epochs),)
        return budget.exceeded_by((*budget.spent(), *under_way))

    def epsilon(self) -> float:
        """Return what the run has cost a patient so far; 0 without differential privacy."""
        private = self._study.differential_privacy
        return epsilon_of(self._draft.spendings(self._run), private.delta) if private.on else 0.0

    def membership(self, subset: str) -> Membership:
        """Return the members of a subset as read at the start of the run; that does not change."""
        if subset not in self._known:
            patients = self._cohort.subset(self._study, subset)
            self._known[subset] = self._memberships.of(p.patient_id for p in patients)
        return self._known[subset]

    def _read_otherwise(self, subset: str) -> Iterator[Refusal]:
        """Refuse the same patients with other values, or in nearly the same folds."""
        if self._patient_values.changed_by_few(self._values_of(subset)):
            yield refusal("corrections", self._privacy, "")
        patients = self._cohort.subset(self._study, subset)
        if subset == TRAIN and self._patient_values.dealt_otherwise(patients):
            yield refusal("same_folds", self._privacy, TRAIN)

    def _values_of(self, subset: str) -> Values:
        """Return the values of a subset as read at the start of the run; they do not change."""
        if subset not in self._values:
            patients = self._cohort.subset(self._study, subset)
            self._values[subset] = self._patient_values.of(patients)
        return self._values[subset]

    def _other_sites(self, item: Item, over: Sequence[str]) -> Iterator[Refusal]:
        """Refuse the same patients summed with a few sites more or less: it gives these few away.

        Whatever the sum is called: another name, or an idle step, may stand for the same numbers.

        Parameters
        ----------
        over : sites of the sum; at enrolment, of the sums that the study is going to ask for.
        """
        known = self._db.companions(item.membership) if over else ()
        if known and self._earlier.reveal_too_much(item.subset, over, known):
            yield refusal("participants", self._privacy, "")

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
            what = describe_training(request.network, request.variant)
            shapes = {"weights": request.weights.shape if request.plan.epochs else (0,)}
            yield self._item(what, "train", request.digest, shapes, summed=True)
        elif isinstance(request, OpenRequest):
            what = describe_opening(request.opening.step, request.opening.left_out)
            yield self._item(what, "train", request.digest, {})
        elif isinstance(request, RowsRequest):
            what = f"out-of-fold rows: {', '.join(request.columns)}"
            shapes = {"probabilities": (len(request.columns),)}
            views = request_digest(request.columns)
            unique = self._draft.fact("unique rows", request.digest)
            item = self._item(what, "train", views, shapes, summed=True)
            yield replace(item, unique=None if unique is None else int(unique))
        elif isinstance(request, EvaluateRequest):
            digest = request_digest(request.bundle, request.edges, request.cuts)
            for subset in request.test_sets:
                yield self._item("evaluation of the final models", subset, digest, {})

    def _item(
        self, what: str, subset: str, request: str, shapes: Shapes, *, summed: bool = False
    ) -> Item:
        patients = self._cohort.subset(self._study, subset)
        masked = summed and self._study.masked(subset)
        membership = self.membership(subset).digest
        earlier = self._db.companions(membership) if masked else ()
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


Sites = frozenset[str]


class EarlierSums:
    """The earlier sums of one site, as one study sees them.

    A site hears only of sums that it gave a part of. Several of them may reveal another site's
    numbers together with sums that this one had no part in; so everything that a study declares is
    looked at, for every study in which this site gave sums of the same patients. A site with
    another identity key than before is another site: it might be anybody's.

    Parameters
    ----------
    left : site, roster digest and study digest (or `ANY_STUDY`) of sums that follow by
        subtraction, as those hospitals have signed.
    """

    def __init__(self, work: Path, study: Study, left: Iterable[tuple[str, str, str]]) -> None:
        self._work, self._study, self._left = work, study, frozenset(left)
        self._rosters = Rosters(work)
        self._studies: dict[str, Study | None] = {study.digest(): study}
        self._checked: dict[tuple[object, ...], bool] = {}

    @classmethod
    def of(cls, work: Path, study: Study) -> EarlierSums:
        """Return the earlier sums of the site with this work folder."""
        return cls(work, study, Departures(work, study).let_go())

    def gone(self, earlier: Companions) -> set[str]:
        """Return the sites of an earlier sum that have left for good, or are away by consent."""
        return {
            site
            for site in earlier.participants
            for study in (ANY_STUDY, earlier.study)
            if (site, earlier.roster, study) in self._left
        }

    def under_keys(self, earlier: Companions) -> Sites:
        """Return the sites of an earlier sum; those that had another key bear another name."""
        before, now = self._rosters.recall(earlier.roster), self._study.roster
        return frozenset(
            under_key(site, before.get(site), now.get(site)) for site in earlier.participants
        )

    def reveal_too_much(self, subset: str, now: Iterable[str], known: Iterable[Companions]) -> bool:
        """Say whether a sum among `now` would give fewer than three sites away by subtraction.

        Who left for good has allowed that its own numbers are found, and from then on hides nobody
        else; who takes part again counts again.

        Parameters
        ----------
        known : of earlier sums over the same patients of this site.
        """
        members, earlier = frozenset(now), tuple(known)
        key = (subset, members, earlier)
        if key not in self._checked:
            self._checked[key] = self._reveal(subset, members, earlier)
        return self._checked[key]

    def _reveal(self, subset: str, now: Sites, earlier: tuple[Companions, ...]) -> bool:
        split = split_of(self._study, subset)
        own = map(frozenset, masked_over(self._study, split).values())
        declared = (
            self._staying(one._replace(participants=sites), now)
            for one in earlier
            for sites in self._declared(one.study, split)
        )
        given = (self._staying(one, now) for one in earlier)
        return told_by_difference(now, given, (*own, *declared))

    def _staying(self, earlier: Companions, now: Sites) -> Sites:
        staying = frozenset(earlier.participants) - (self.gone(earlier) - now)
        return self.under_keys(earlier._replace(participants=tuple(staying)))

    def _declared(self, digest: str, split: str) -> Iterator[tuple[str, ...]]:
        """Yield the sites of all masked sums of an earlier study; none if it is not at hand."""
        if digest not in self._studies:
            try:
                self._studies[digest] = recall_study(self._work, digest)
            except (StudyError, ValueError):
                self._studies[digest] = None
        study = self._studies[digest]
        if study is not None:
            yield from masked_over(study, split).values()


def _gradients(request: Any) -> Iterator[tuple[SumItem, str, str]]:
    """Yield items that ask for a gradient, with each table they read and its kind of question."""
    for item in request.items if isinstance(request, SumRequest) else ():
        if item.statistic.kind == "gradient":
            for base in tables_read(item.view):
                yield item, base, f"gradient/{request_digest(base, item.subset)}"


def _name(request: Any) -> str:
    """Return a digest (hex) that only an identical request has."""
    return str(getattr(request, "digest", request.study))


def _decision(reply: Any) -> tuple[Decision, str]:
    if isinstance(reply, Refused):
        return "refused", reply.refusals[0].rule
    if isinstance(reply, Problem):
        if reply.kind in _NOT_OF_NUMBERS:
            return "stopped", reply.kind
        return "stopped", "fault" if reply.kind in MACHINE else "problem"
    return "released", ""


def _again(attempt: int) -> str:
    return f"/again/{attempt}" if attempt else ""


def _exchange_id(request: Any) -> str:
    """Return the coordinator's name for this exchange, the same at all sites."""
    if isinstance(request, SumRequest):
        return f"{request.session}/{request.number}"
    if isinstance(request, TrainRequest):
        return f"{request.session}/{request.number}{_again(request.attempt)}"
    if isinstance(request, SignRequest | OpenRequest):
        opening = request.opening
        about = f"{opening.session}/{opening.number}{_again(opening.attempt)}"
        return f"{about}/{'sign' if isinstance(request, SignRequest) else 'open'}"
    return ""
