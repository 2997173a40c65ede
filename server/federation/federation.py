"""The server's handle on the sites: enrol, sum, train, rows, evaluate.

It implements the protocol that phases are written against. Whatever protects the sums on the wire
belongs behind `sum_many` and `train`, where no phase sees it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tomli_w
from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from common.errors import ImplausibleError, RefusedError, SignatureError, SiteError
from common.flower.internals import ErrorCode
from common.masking.absence import Consent
from common.masking.agreement import SignedKey, check_roster, roster_digest
from common.messages.codec import decode, encode, size_of
from common.messages.conforming import UnfitError, conform
from common.messages.exchanges import (
    CATALOGUE,
    REPLIES_IN_PLACE,
    Agreed,
    AgreeRequest,
    EnrolReply,
    EnrolRequest,
    EvaluateReply,
    EvaluateRequest,
    FollowRequest,
    KeyRequest,
    Problem,
    Ranges,
    Refusal,
    Refused,
    RoundPlan,
    RowsRequest,
    SumItem,
    SumRequest,
    TrainRequest,
    Weights,
)
from common.messages.opening import MOST_ATTEMPTS, Opening
from common.messages.receipts import attach_newest
from common.messages.replies import check_form
from common.statistics.base import Float
from common.study.model import Study
from common.study.release_mark import own_release
from common.transforms.views import View
from server.federation.dispatch import Connection, Dispatch, Enough, check_answer
from server.federation.obstacles import ObstaclesError, Roll, refused_words, remedy_of, without
from server.federation.owed import Owed
from server.federation.quorum import (
    SIGN_SECONDS,
    OpenRounds,
    open_round,
    opening_of,
    sign_round,
)
from server.federation.receipts import Receipts
from server.federation.relay import Relay
from server.federation.restarts import (
    MOST_RESTARTS,
    RESTARTED,
    RestartedError,
    asked_again,
    check_unchanged,
)
from server.federation.totals import RowTotals, SumTotals, UpdateTotals
from server.federation.transfers import TransferLog
from server.phases import protocol
from server.phases.plausible import Plausibility
from server.phases.protocol import NO_CONTROL, NOTHING_TRAINED, OutOfFoldRows, TrainingRound
from server.progress.events import Events

_OTHER_RELEASE = (
    f"has another release of fedlnm installed than this coordinator, which runs {own_release()}",
    f"its own screen names both: it installs release {own_release()}, or another that shares the"
    " first two numbers, then resume",
)
_ROLLED_BACK = {
    "rolled_back": (
        "its ledger was put back to an older copy, and it answers nothing",
        "it must restore the newest backup of its work folder, then resume",
    ),
    "other_rolled_back": (
        "it found that the ledger of another hospital was put back to an older copy",
        "its own screen names that hospital, which must restore the newest backup",
    ),
}
_DERIVED = (SumRequest, TrainRequest, RowsRequest, EvaluateRequest, FollowRequest)
_FOLLOW = "query.follow"
T = TypeVar("T")
FLOWER_ERRORS = {ErrorCode.INVALID_FAB: _OTHER_RELEASE}


@dataclass
class Federation(protocol.Federation):
    """The sites of one study, reached over a Flower grid.

    Parameters
    ----------
    grid : Flower's grid, of any engine.
    study : the study.
    run : name of the run; sites keep what it makes under this name.
    number : of the next sum or update; a resumed run goes on counting.
    epsilons : by site, privacy spent in training so far; 0 without differential privacy.
    objections : of sites, to weights that score their own held-out patients far worse.
    replies : file for the receipts of all replies; None = they are kept in memory only.
    consents : folder for those of sites that may be left out once they are away for long.
    relay : answers that the sites need to derive the questions themselves.
    rounds : keeps the sum of a round that goes on without some sites until it is opened.
    owed : what sites that were away have still to do before the next sum.
    """

    grid: Grid
    study: Study
    run: str
    events: Events = field(default_factory=Events)
    transfers: TransferLog = field(default_factory=TransferLog)
    refusals: list[dict[str, Any]] = field(default_factory=list)
    nodes: dict[str, int] = field(default_factory=dict)
    # a resumed run asks anew: under another session no mask is used twice
    session: str = field(default_factory=lambda: secrets.token_hex(8))
    members: dict[str, EnrolReply] = field(default_factory=dict)
    number: int = 0
    epsilons: dict[str, float] = field(default_factory=dict)
    objections: list[dict[str, Any]] = field(default_factory=list)
    replies: Path | None = None
    consents: Path | None = None
    relay: Relay = field(default_factory=Relay)
    rounds: OpenRounds = field(default_factory=OpenRounds)
    owed: Owed = field(default_factory=Owed)
    connection: Connection = field(init=False)
    receipts: Receipts = field(init=False)
    _registered: dict[int, str] = field(default_factory=dict)
    _all_needed: dict[str, str] = field(default_factory=dict)
    _plausible: Plausibility = field(init=False)

    def __post_init__(self) -> None:
        self.connection = Connection(self.grid, self.events, self._name_of)
        self._plausible = Plausibility(self.study, self.members)
        self.receipts = Receipts(self.replies, self.study.roster)

    # -- the exchanges ------------------------------------------------------------------------

    def enrol(self) -> dict[str, EnrolReply]:
        """Show the study to every node, and let the sites agree on a key.

        Where a site's program is started again in between, all sites announce new keys.

        Raises
        ------
        ObstaclesError : sites refuse, cannot go on, or did not answer in time.
        SiteError : a site runs other software, or the sites agree on no key.
        """
        counted = self.transfers.copy()
        for _ in range(MOST_RESTARTS):
            try:
                self._call_roll()
                if self._keys():
                    self._share_key()
                return self.members
            except RestartedError as restarted:
                again = restarted
            self._begin_session(again.site)
            self.transfers.go_back(counted)
        raise again

    def _call_roll(self) -> None:
        """Show the study to every node and wait until all sites of the roster have answered.

        Refusals and problems are collected: the study stops once, with all that stands against it.
        """
        request = EnrolRequest(
            run=self.run,
            study=self.study.digest(),
            study_json=self.study.model_dump_json(),
            session=self.session,
        )
        content = encode(request)
        attach_newest(content, self.receipts.all_newest())
        dispatch = Dispatch(self.connection, "query.enrol", self.study.waiting.enrol_seconds)
        roll = Roll(self.study)
        self.transfers.begin("query.enrol")
        while not roll.complete:
            if new := self._new_nodes():
                dispatch.ask(dict.fromkeys(new, lambda: content))
            for node, reply in dispatch.poll():
                self._enter(roll, node, reply, request, size_of(content))
            if not roll.complete and dispatch.overdue:
                roll.give_up()
            elif not roll.complete:
                dispatch.wait(sorted(roll.waiting))
        if roll.obstacles:
            error = ObstaclesError(roll.obstacles, without(roll.obstacles, self.study))
            self.events.emit("not_enrolled", **error.as_dict())
            raise error
        self._check_columns()
        self._check_keys()

    def enrol_anew(self, site: str) -> None:
        """Let every site announce new keys, as the program of one of them was started again.

        Raises
        ------
        SiteError : a site now has other patients or columns.
        """
        before = dict(self.members)
        self._begin_session(site)
        check_unchanged(before, self.enrol())

    def _begin_session(self, site: str) -> None:
        self.events.emit("keys_renewed", site=site)
        self.session = secrets.token_hex(8)
        for known in (self.members, self.nodes, self._registered):
            known.clear()

    def _enter(
        self, roll: Roll, node: int, reply: Message, request: EnrolRequest, down: int
    ) -> None:
        """Enter one answer: of a site that takes part, of one that cannot, or of no site."""
        site = self._registered[node]
        try:
            answer = self._read(reply, "query.enrol", site or self._name_of(node), request)
            site = site or answer.site
            self._check_form(site or self._name_of(node), request, answer)
            self.receipts.take(site, "query.enrol", request, reply, answer)
            if isinstance(answer, Problem):
                raise _problem(answer, site or self._name_of(node))
            if isinstance(answer, Refused):
                self._note(answer, site)
                roll.refused(site, answer)
            elif self._registered[node] or answer.site in roll.waiting:
                self._keep_consent(site, answer.consent)
                self.nodes[site], self.members[site] = node, answer
                roll.answered(site)
                self.events.emit("enrolled", site=site, counts=answer.counts)
                self._foretell(site, answer.withheld)
        except SiteError as error:
            roll.cannot(site, self._name_of(node), error)
        if site in self.study.site_names:
            self._heard(site, "query.enrol", reply, down)

    def _keep_consent(self, site: str, consent: Consent | None) -> None:
        """Keep a site's consent to be left out once it is away for long, for `prepare`.

        Raises
        ------
        SiteError : it is not one that this site signed for this study.
        """
        if consent is None:
            return
        study = self.study
        about = study.roster[site], roster_digest(study.roster), study.digest()
        try:
            signed = consent.by(site, *about)
        except (SignatureError, ValueError):
            raise SiteError("its consent is not one that it signed", where=f"site {site}") from None
        self.events.emit("may_leave", site=site, days=signed.days)
        if self.consents is not None:
            self.consents.mkdir(parents=True, exist_ok=True)
            path = self.consents / f"{site}.may-leave-{study.name}.toml"
            path.write_text(tomli_w.dumps({"left": [signed.model_dump()]}), encoding="utf-8")

    @asked_again
    def sum_many(self, items: Sequence[SumItem]) -> list[Any]:
        """Return several statistics, each summed over the sites of its subset; one round.

        Raises
        ------
        RefusedError : a site's disclosure rule refused.
        """
        self._settle()
        wanted = {site: self._items_for(site, items) for site in self.study.site_names}
        number = self.next_number()
        requests = {
            site: SumRequest(
                run=self.run,
                study=self.study.digest(),
                session=self.session,
                number=number,
                items=own,
                keys=self._keys(),
            )
            for site, own in wanted.items()
            if own
        }
        totals = SumTotals(self.study, items, self._plausible)
        with self._named(number):
            for site, reply in self._ask("query.sum", requests, self.study.waiting.sum_seconds):
                totals.add(site, reply)
            results = totals.results()
        if any(item.goes_back for item in items):
            self.relay.add(totals.going_back(self.session, number))
        return results

    @asked_again
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
        """Train for one round at every training site; replies are added up one by one.

        Parameters
        ----------
        running : (k, 2), ranges of the running statistics, whose changes travel in 64 bits.
        control : mean control variate of all sites (SCAFFOLD).
        singly : keep the sites' single changes too; of use only where nothing is masked.
        """
        request = TrainRequest(
            run=self.run,
            study=self.study.digest(),
            session=self.session,
            number=self.next_number(),
            network=network,
            variant=variant,
            weights=weights,
            control=control,
            running=running,
            plan=plan,
            keys=self._keys(),
        )
        if plan.keep and self.study.quorum:
            return self._keep(request)
        opened: tuple[str, ...] = ()
        if plan.invited:
            totals, opening = self._opened(request)
            self._say_who_is_away(opening)
            opened = opening.opened
        else:
            totals, _, _ = self._updates(request, singly=singly)
        if self.relay.needed:
            self.relay.add(totals.going_back())
        self._let_follow()
        total = totals.results()
        with self._named(request.number):
            self._plausible.check_update(network, variant, weights, total.change, running)
        return TrainingRound.of(total, totals.singles(), opened)

    def _opened(self, request: TrainRequest) -> tuple[UpdateTotals, Opening]:
        """Return the sum over a quorum of the sites, and whose updates it holds.

        A site that gave its update and does not sign is left out, and the others answer again.
        """
        seconds = self.study.waiting.train_seconds
        patience = max(self.study.training.patience, SIGN_SECONDS)
        kept = self.rounds.find(request.digest)
        while True:
            if kept is None:
                totals, answered, needed = self._updates(request, singly=False)
                kept = totals.stored(opening_of(request, answered, needed))
                self.rounds.keep(kept)
            attempt, all_needed = kept.opening.attempt, self._is_waited_for(request)
            last = attempt >= MOST_ATTEMPTS or all_needed
            # one signature shows that sites are there; others than those asked may make the quorum
            enough = None if last else Enough(1, patience)
            about = self.study, self._ask, seconds
            signatures = sign_round(request, kept, *about, enough)
            if signatures is not None:
                return open_round(request, kept, signatures, *about), kept.opening
            about_it = {"network": request.network, "variant": request.variant}
            self.events.emit("not_signed", **about_it, round=request.plan.round)
            request, kept = replace(request, attempt=attempt + 1), None

    def _is_waited_for(self, request: TrainRequest) -> bool:
        """Tell if rounds of this training wait for all, as a site signs no sum without some."""
        return self._all_needed == {"network": request.network, "variant": request.variant}

    def _keep(self, request: TrainRequest) -> TrainingRound:
        """Let the sites keep what the weights say of their patients; those away do so later."""
        _, answered, _ = self._updates(request, singly=False)
        missing = [site for site in self.study.training_sites if site not in answered]
        self.owed.add(request, missing)
        self._let_follow()
        return NOTHING_TRAINED

    def _settle(self) -> None:
        """Wait until sites that were away have kept what the next question may read."""
        seconds = self.study.waiting.train_seconds
        for request, sites in self.owed.waiting():
            asked = replace(request, session=self.session, keys=self._keys())
            for site, _ in self._ask("train.network", dict.fromkeys(sites, asked), seconds):
                self.owed.answered(request.number, site)

    def _updates(
        self, request: TrainRequest, *, singly: bool
    ) -> tuple[UpdateTotals, list[str], int]:
        """Return the sum of the updates, who answered, and how many have to.

        These are all sites, or a quorum of those asked.

        Raises
        ------
        RestartedError : a site's program was started again, and new keys can be agreed on or have
            to be.
        """
        requests = dict.fromkeys(request.plan.invited or self.study.training_sites, request)
        training, answered = self.study.training, []
        waits = not self.study.quorum or not (request.plan.invited or request.plan.keep)
        enough = None if waits else Enough(self.study.quorum, training.patience)
        seconds = self.study.waiting.train_seconds
        totals = UpdateTotals(request, singly=singly)
        for site, reply in self._ask("train.network", requests, seconds, enough):
            with self._form_of(site, request):
                totals.add(site, reply)
            answered.append(site)
            if enough is not None and request.plan.invited and not reply.departures:
                # it would not sign a sum without some, and the others would sign in vain
                enough.quorum = len(requests)
                self._say_that_all_are_needed(request, site)
            self.epsilons[site] = max(reply.epsilon, self.epsilons.get(site, 0.0))
            if len(reply.objection) == 2 and np.isfinite(reply.objection).all():
                self._object(site, request, reply.objection)
            del reply  # before the next one is waited for
        return totals, answered, enough.quorum if enough is not None else len(requests)

    def _say_that_all_are_needed(self, request: TrainRequest, site: str) -> None:
        """Say once a training why its rounds wait for everybody, though a quorum is there."""
        training = {"network": request.network, "variant": request.variant}
        if training != self._all_needed:
            self._all_needed = training
            self.events.emit("all_needed", **training, site=site)

    def _say_who_is_away(self, opening: Opening) -> None:
        if opening.left_out:
            key = {"network": opening.network, "variant": opening.variant}
            self.events.emit("went_on", **key, round=opening.round, without=opening.left_out)

    @asked_again
    def rows(self, columns: Mapping[str, View], fitting: Float) -> OutOfFoldRows:
        """Return pooled out-of-fold probabilities with labels, the declared row-level exchange.

        The rows come as one sum, which names no site; they are sorted by value, so that the result
        does not depend on their places in it.

        Raises
        ------
        SiteError : replies that do not add up to one row a place.
        """
        self._settle()
        sites = self.study.training_sites
        request = RowsRequest(
            run=self.run,
            study=self.study.digest(),
            columns=dict(columns),
            fitting=fitting,
            counts={site: self.members[site].counts["train"][0] for site in sites},
            keys=self._keys(),
            number=self.next_number(),
        )
        total = RowTotals(request, self.study.fusion.row_decimals)
        requests = dict.fromkeys(sites, request)
        for site, reply in self._ask("query.rows", requests, self.study.waiting.sum_seconds):
            total.add(site, reply)
        table = np.column_stack(total.results())
        table = table[np.lexsort(table.T)]
        return OutOfFoldRows(tuple(columns), table[:, :-1], table[:, -1])

    def evaluate(
        self, files: Mapping[str, Any], edges: Float, cuts: Mapping[str, float]
    ) -> dict[str, EvaluateReply]:
        """Hand the final bundle to every site that has test patients; scores stay there.

        Parameters
        ----------
        edges : (k, cells + 1), of the class-wise histogram of each model's scores.
        cuts : where strata are cut in two, by column.
        """
        self._settle()
        requests, number = {}, self.next_number()
        for site in self.study.site_names:
            sets = tuple(t.name for t in self.study.test_sets if site in t.sites)
            if sets:
                requests[site] = EvaluateRequest(
                    run=self.run,
                    study=self.study.digest(),
                    bundle=dict(files),
                    test_sets=sets,
                    edges=edges,
                    cuts=dict(cuts),
                    number=number,
                )
        seconds = self.study.waiting.train_seconds
        replies = dict(self._ask("evaluate.handout", requests, seconds))
        return {site: replies[site] for site in requests}

    def agreed(self, name: str, value: T, apart: Callable[[T], float]) -> T:
        """Return the value, and hand it to the sites that derive the questions."""
        self.relay.add(Agreed(self.next_number(), name, value))
        return value

    # -- who has what ---------------------------------------------------------------------------

    def _items_for(self, site: str, items: Sequence[SumItem]) -> tuple[SumItem, ...]:
        return tuple(item for item in items if site in self.study.members(item.subset))

    def _keys(self) -> tuple[SignedKey, ...]:
        """Return every site's signed key, in roster order; none where nothing is masked."""
        own = [self.members[name].key for name in self.study.site_names if name in self.members]
        return tuple(key for key in own if key is not None)

    def _check_keys(self) -> None:
        """Check that every site signed its key for this run; the sites check it again."""
        keys = self._keys()
        if keys:
            roster = roster_digest(self.study.roster)
            check_roster(
                keys, self.study.roster, self.run, self.study.digest(), roster, self.session
            )

    def _check_columns(self) -> None:
        first = self.members[self.study.training_sites[0]]
        for name in self.study.training_sites[1:]:
            if self.members[name].columns != first.columns:
                raise SiteError(
                    f"its tables have other columns than those of {first.site}",
                    where=f"site {name}",
                    remedy="bring both to the same software versions",
                )

    @contextmanager
    def _named(self, number: int) -> Iterator[None]:
        """Name phase and number of the question in what is wrong with its total."""
        try:
            yield
        except ImplausibleError as error:
            where = self._named_question(number)
            self.events.emit("implausible", phase=self.transfers.phase, number=number)
            raise ImplausibleError(error.what, where=where, remedy=error.remedy) from None

    def _named_question(self, number: int | None) -> str:
        """Name a question for people; the enrolment has no number of its own."""
        phase = self.transfers.phase if number is not None else ""
        return f"phase {phase or 'enrolment'}, question {number or 0}"

    def _let_follow(self) -> None:
        """Hand answers to sites that are asked nothing, before too many of them wait."""
        behind = self.relay.behind(self.number)
        online = self.connection.nodes() if behind else {}
        for site in behind:
            if self.nodes[site] in online:
                self._follow(site, (*self.relay.pieces(site, self.number), self.number))

    def _follow(self, site: str, numbers: Sequence[int]) -> None:
        """Hand a site the answers before each of these questions, a part at a time."""
        asked = FollowRequest(self.run, self.study.digest(), self.session, 0)
        # whoever goes away meanwhile is told when it is back
        enough = Enough(0, self.study.training.patience) if self.study.quorum else None
        for number in numbers:
            part = {site: replace(asked, number=number)}
            heard = dict(self._ask(_FOLLOW, part, self.study.waiting.sum_seconds, enough))
            if not heard:
                return

    def _bring_up(self, exchange: str, requests: Mapping[str, Any], *, wait: bool) -> None:
        """Hand sites the answers that are too large to travel with these questions.

        Parameters
        ----------
        wait : also for sites that are not connected.
        """
        if exchange == _FOLLOW or not self.relay.needed:
            return
        online = {} if wait else self.connection.nodes()
        for site, one in requests.items():
            there = wait or self.nodes[site] in online
            if there and self.relay.derives(site) and isinstance(one, _DERIVED):
                self._follow(site, self.relay.pieces(site, one.number))

    def _share_key(self) -> None:
        """Let the sites agree on a key that is not known here; two rounds."""
        names = self.study.site_names
        enrolments = tuple(self.members[site] for site in names)
        about = {"run": self.run, "study": self.study.digest(), "session": self.session}
        asked = KeyRequest(**about, enrolments=enrolments)
        seconds = self.study.waiting.sum_seconds
        given = dict(self._ask("query.key", dict.fromkeys(names, asked), seconds))
        parts = {
            site: AgreeRequest(
                **about,
                enrolments=asked.digest,
                sealed={other: given[other].sealed[site] for other in names if other != site},
            )
            for site in names
        }
        for _ in self._ask("query.agree", parts, seconds):
            pass
        self.relay.wait_for(site for site in names if self.members[site].verifies)

    def next_number(self) -> int:
        """Return the number of the next question; agreements have one too."""
        self.number += 1
        return self.number - 1

    # -- the wire -------------------------------------------------------------------------------

    def _ask(
        self,
        exchange: str,
        requests: Mapping[str, Any],
        seconds: float,
        enough: Enough | None = None,
    ) -> Iterator[tuple[str, Any]]:
        """Yield replies as they come, one at a time; raise refusals and problems.

        Parameters
        ----------
        enough : when to go on without the others. A site whose program was started again is one
            of these, unless all sites are there to agree on new keys.

        Raises
        ------
        SiteError : no reply in time; or one to another question, or of another site: nothing of
            it is handed on.
        """
        if not requests:
            return
        self._bring_up(exchange, requests, wait=enough is None)
        self.transfers.begin(exchange)
        dispatch = Dispatch(self.connection, exchange, seconds)
        # each object once: weights that go to every site are encoded one time
        sent = {site: self._sent(site, one) for site, one in requests.items()}
        made: dict[Any, _Content] = {}
        contents = {
            site: made.setdefault(_parts_of(one), _Content(one, self.receipts))
            for site, one in sent.items()
        }
        dispatch.ask({self.nodes[site]: content for site, content in contents.items()})
        left = len(requests)
        for node, reply in dispatch.replies(enough):
            site = self._name_of(node)
            number = getattr(requests[site], "number", None)
            answer = self._read(reply, exchange, site, requests[site])
            self._check_form(site, requests[site], answer)
            self.receipts.take(site, exchange, requests[site], reply, answer)
            if enough is not None and isinstance(answer, Problem) and answer.kind == RESTARTED:
                left -= 1
                if left >= enough.quorum and not self._all_connected():
                    continue
            decoded = self._pending(answer, site, number)
            self._heard(site, exchange, reply, contents[site].size)
            self.relay.heard(site, number or 0)
            yield site, decoded
            del reply, answer, decoded  # before the next one is waited for

    def _all_connected(self) -> bool:
        return set(self.nodes.values()) <= set(self.connection.nodes())

    def _sent(self, site: str, request: Any) -> Any:
        """Return a request as a site gets it: with the answers that it needs to derive it."""
        if not self.relay.derives(site) or not isinstance(request, _DERIVED):
            return request
        progress = self.relay.since(site, request.number)
        # a site that is asked late has forgotten the weights meanwhile
        if isinstance(request, TrainRequest) and request.number + 1 >= self.number:
            return request.without_weights(progress)
        return replace(request, progress=progress)

    def _new_nodes(self) -> list[int]:
        """Find new nodes that may be sites of this study, by the name Flower has of them.

        Only a deployment names its nodes; others belong to hospitals of other studies.
        """
        found = {node: str(info.name) for node, info in self.connection.nodes().items()}
        new = [n for n in found if found[n] in ("", *self.study.site_names)]
        new = [node for node in new if node not in self._registered]
        self._registered.update({node: found[node] for node in new})
        return new

    def _heard(self, site: str, exchange: str, reply: Message, down: int) -> None:
        """Count a reply and its request; what was asked again counts once."""
        up = size_of(reply.content)
        self.transfers.add(site, exchange, up=up, down=down)
        self.events.emit("contact", site=site, exchange=exchange, up=up, down=down)

    def _name_of(self, node: int) -> str:
        names = {number: site for site, number in self.nodes.items()}
        return names.get(node) or self._registered.get(node) or f"(node {node})"

    def _pending(self, answer: Any, site: str, number: int | None) -> Any:
        """Return an answer; raise a refusal or a problem in its place."""
        if isinstance(answer, Problem):
            raise _problem(answer, site, self._named_question(number))
        if isinstance(answer, Refused):
            self._note(answer, site)
            first = answer.refusals[0]
            raise RefusedError(refused_words(first), where=f"site {site}", remedy=remedy_of(first))
        return answer

    def _read(self, reply: Message, exchange: str, site: str, request: Any) -> Any:
        """Decode a reply, a refusal or a problem among them.

        Parameters
        ----------
        site : the one that was asked, or the name of a node that is yet to say which one it is.

        Raises
        ------
        SiteError : an error of Flower's, or nothing that the catalogue has.
        """
        if reply.has_error():
            where = f"site {site}"
            code = reply.error.code
            unknown = (f"Flower reports error {code}", "see the site's own screen and log")
            what, remedy = FLOWER_ERRORS.get(code, unknown)
            raise SiteError(what, where=where, remedy=remedy)
        with self._form_of(site, request):
            decoded = decode(reply.content)
            if type(decoded) not in (CATALOGUE[exchange].reply, *REPLIES_IN_PLACE):
                raise ValueError("not a reply that the catalogue has")
            conform(decoded.site, str, "site", {})
        return decoded

    def _check_form(self, site: str, request: Any, answer: Any) -> None:
        """Return if a reply has the form that its request and the study give it.

        Raises
        ------
        SiteError : it has another, or is to another question or in another site's name.
        """
        if site in self.study.site_names and not isinstance(answer, REPLIES_IN_PLACE):
            check_answer(request, answer, site)
        with self._form_of(site, request):
            if site in self.study.site_names:
                check_form(request, answer, self.study, site)
            else:  # a node that is no site of the study
                conform(answer, type(answer), type(answer).__name__, {})

    @contextmanager
    def _form_of(self, site: str, request: Any) -> Iterator[None]:
        """Name hospital, phase and question where a reply cannot be read, or has another form."""
        try:
            yield
        except UnfitError as error:
            what = f"its reply has another form than was asked for ({error})"
        except Exception as error:  # of bytes that somebody else made
            words = error if isinstance(error, ValueError) else type(error).__name__
            what = f"its reply cannot be read: {words}"
        else:
            return
        question = self._named_question(getattr(request, "number", None))
        raise SiteError(
            what,
            where=f"site {site}, {question}",
            remedy="nothing of it was used: let the hospital install the release that runs here"
            f" ({own_release()}) anew and start its program again, then resume",
        )

    def _object(self, site: str, request: TrainRequest, losses: Sequence[float]) -> None:
        """Keep a site's objection for events and results."""
        entry = {
            "site": site,
            "network": request.network,
            "variant": request.variant,
            "round": request.plan.round,
            "before": losses[0],
            "after": losses[-1],
        }
        self.objections.append(entry)
        self.events.emit("objected", **entry)

    def _note(self, refused: Refused, site: str) -> None:
        """Keep a site's refusals for events and results."""
        for refusal in refused.refusals:
            entry = {"site": site, **vars(refusal)}
            self.refusals.append(entry)
            self.events.emit("refused", **entry)
        self._foretell(site, refused.withheld)

    def _foretell(self, site: str, withheld: Sequence[Refusal]) -> None:
        """Announce results that a site will withhold; the results note it when it does."""
        for refusal in withheld:
            self.events.emit("foretold", site=site, **vars(refusal))


def _parts_of(request: Any) -> tuple[int, ...]:
    """Return what tells requests apart that are made of other objects; empty arrays are alike."""
    fields = {name: value for name, value in vars(request).items() if name != "progress"}
    parts = [*fields.values(), *getattr(request, "progress", ())]
    return tuple(0 if isinstance(one, np.ndarray) and not one.size else id(one) for one in parts)


class _Content:
    """A request as it is sent, encoded when it is; its size is known from then on."""

    def __init__(self, request: Any, receipts: Receipts) -> None:
        self._request, self._receipts, self.size = request, receipts, 0

    def __call__(self) -> RecordDict:
        content = encode(self._request)
        attach_newest(content, self._receipts.all_newest())
        self.size = size_of(content)
        return content


# what a site says of a question: its phase and number are named
_OF_THE_STUDY = {
    "study_not_approved": (
        "it has not approved this study",
        "send it study.toml again, let it approve it (fedlnm-site approve), and resume",
    ),
    "not_absent": (
        "this study goes on without a hospital that was there not long ago, by this site's ledger",
        "its own screen and gate.log say from which day on it answers; call the hospital that is"
        " away meanwhile",
    ),
}
_OF_A_QUESTION = {
    "not_derived": (
        "its own run of the study asks another question, or the totals are not what the sites sent",
        "nothing was answered; its own screen and gate.log say more. Begin another run (run --new);"
        " where this comes again, compare the releases of site and coordinator",
    ),
    "overtaken": (
        "it was asked for a newer round of this run before, and answers no older one",
        "the run's folder was put back to an older copy: begin another run (run --new)",
    ),
    "other_enrolments": (
        "it was shown other enrolments than the other sites, or than before in this run",
        "its own screen says more. Resume, and all sites agree anew; where this comes again, look"
        " for what stands between coordinator and site, and begin another (run --new)",
    ),
}


def _problem(problem: Problem, site: str, where: str = "") -> SiteError:
    if problem.kind == RESTARTED:
        return RestartedError(site)
    what, remedy = "cannot go on", "the site's own screen and errors.log say why"
    if problem.kind in _OF_A_QUESTION:
        what, remedy = _OF_A_QUESTION[problem.kind]
    else:
        where = ""
    if problem.kind in _OF_THE_STUDY:
        what, remedy = _OF_THE_STUDY[problem.kind]
    if problem.kind == "other_release":
        what, remedy = _OTHER_RELEASE
    if problem.kind in _ROLLED_BACK:
        what, remedy = _ROLLED_BACK[problem.kind]
    return SiteError(
        f"{what} ({problem.kind}, its log {problem.log_id})",
        where=f"site {site}{where and f', {where}'}",
        remedy=remedy,
    )
