"""The server's handle on the sites: enrol, sum, train, rows, evaluate.

Phases are written against this class only and read like pooled code. Whatever protects the sums on
the wire belongs behind `sum_many` and `train`, where no phase sees it.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from common.codec import decode, encode, size_of
from common.errors import RefusedError, SiteError
from common.exchanges import (
    CATALOGUE,
    EnrolReply,
    EnrolRequest,
    EvaluateReply,
    EvaluateRequest,
    Problem,
    Ranges,
    Refused,
    RoundPlan,
    RowsReply,
    RowsRequest,
    SumItem,
    SumRequest,
    TrainRequest,
    Weights,
)
from common.masking.agreement import SignedKey, check_roster, roster_digest
from common.statistics.base import Float
from common.study import Study
from common.views import View
from server.events import Events
from server.replies import check_answer, is_waited_for
from server.totals import SumTotals, UpdateTotals
from server.transfers import TransferLog

POLL_SECONDS = 0.05


@dataclass(frozen=True)
class TrainingRound:
    """What the sites send sums to: new weights, mean loss, mean held-out loss (NaN if none)."""

    weights: Weights
    loss: float
    held_out_loss: float


@dataclass(frozen=True)
class OutOfFoldRows:
    """Pooled out-of-fold probabilities (n, k), labels (n,), in an order no site determines."""

    columns: tuple[str, ...]
    probabilities: Float
    labels: Float


@dataclass
class Federation:
    """The sites of one study, reached over a Flower grid.

    Parameters
    ----------
    grid : Flower's grid, of any engine.
    study : the study.
    run : name of the run; sites keep what it makes under this name.
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
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    # -- the five exchanges -------------------------------------------------------------------

    def enrol(self) -> dict[str, EnrolReply]:
        """Show the study to every node and wait until all sites of the roster have answered.

        Raises
        ------
        SiteError : a site cannot go on, did not answer in time, or runs other software.
        """
        request = EnrolRequest(
            run=self.run, study=self.study.digest(), study_json=self.study.model_dump_json()
        )
        asked: set[int] = set()
        deadline = time.monotonic() + self.study.waiting.enrol_seconds
        waiting = set(self.study.site_names)
        while waiting:
            new = [node for node in self.grid.get_node_ids() if node not in asked]
            asked.update(new)
            for node, reply in self._exchange_nodes("query.enrol", dict.fromkeys(new, request)):
                if isinstance(reply, EnrolReply) and reply.site in waiting:
                    check_answer(request, reply, reply.site)
                    waiting.discard(reply.site)
                    self.nodes[reply.site] = node
                    self.members[reply.site] = reply
                    self.events.tell("enrolled", site=reply.site, counts=reply.counts)
            if waiting and time.monotonic() > deadline:
                raise SiteError(
                    f"not enrolled in time: {', '.join(sorted(waiting))}",
                    where="enrolment",
                    remedy="start these sites, or take them off the roster",
                )
            if waiting and not new:
                time.sleep(1.0)
        self._check_columns()
        self._check_keys()
        return self.members

    def sum(self, statistic: Any, view: View, subset: str = "train") -> Any:
        """One statistic over one view, summed over the sites that have the subset, finalised."""
        return self.sum_many([SumItem(statistic, view, subset)])[0]

    def sum_many(self, items: Sequence[SumItem]) -> list[Any]:
        """Several statistics in one round.

        Raises
        ------
        RefusedError : a site's disclosure rule refused.
        """
        wanted = {site: self._items_for(site, items) for site in self.study.site_names}
        number = next(self._numbers)
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
        totals = SumTotals(self.study, items)
        for site, reply in self._ask("query.sum", requests, self.study.waiting.sum_seconds):
            totals.add(site, reply)
        return totals.results()

    def train(
        self, network: str, variant: str, weights: Weights, wide: Ranges, plan: RoundPlan
    ) -> TrainingRound:
        """One round of local training at every training site; replies are folded in one by one.

        Parameters
        ----------
        wide : (k, 2), ranges of the weights whose changes travel in the wide ring.
        """
        request = TrainRequest(
            run=self.run,
            study=self.study.digest(),
            session=self.session,
            number=next(self._numbers),
            network=network,
            variant=variant,
            weights=weights,
            wide=wide,
            plan=plan,
            keys=self._keys(),
        )
        requests = dict.fromkeys(self.study.training_sites, request)
        totals = UpdateTotals(weights.size if plan.epochs else 0, wide)
        for site, reply in self._ask("train.network", requests, self.study.waiting.train_seconds):
            totals.add(site, reply)
        change, losses = totals.results()
        new = weights + change if plan.epochs else weights
        return TrainingRound(new, _ratio(losses[0], losses[1]), _ratio(losses[2], losses[3]))

    def rows(self, columns: Mapping[str, View]) -> OutOfFoldRows:
        """The declared row-level exchange: pooled out-of-fold probabilities with labels.

        The rows are sorted by value, so that the result depends neither on the sites' order nor on
        the order they shuffled their rows into.
        """
        request = RowsRequest(run=self.run, study=self.study.digest(), columns=dict(columns))
        requests = dict.fromkeys(self.study.training_sites, request)
        probabilities, labels = [], []
        for site, reply in self._ask("query.rows", requests, self.study.waiting.sum_seconds):
            if not isinstance(reply, RowsReply):
                raise SiteError("an unexpected reply", where=f"site {site}")
            probabilities.append(reply.probabilities)
            labels.append(reply.labels)
        table = np.column_stack([np.vstack(probabilities), np.concatenate(labels)])
        table = table[np.lexsort(table.T)]
        return OutOfFoldRows(tuple(columns), table[:, :-1], table[:, -1])

    def evaluate(self, files: Mapping[str, Any], edges: Float) -> dict[str, EvaluateReply]:
        """Hand the final bundle to every site that has test patients; scores stay there.

        Parameters
        ----------
        edges : (k, cells + 1), of the class-wise histogram of each model's scores.
        """
        requests = {}
        for site in self.study.site_names:
            sets = tuple(t.name for t in self.study.test_sets if site in t.sites)
            if sets:
                requests[site] = EvaluateRequest(
                    run=self.run,
                    study=self.study.digest(),
                    bundle=dict(files),
                    test_sets=sets,
                    edges=edges,
                )
        replies = {}
        for site, reply in self._ask(
            "evaluate.handout", requests, self.study.waiting.train_seconds
        ):
            replies[site] = reply
        return replies

    # -- who has what ---------------------------------------------------------------------------

    def sites_with(self, subset: str) -> tuple[str, ...]:
        """Sites that hold patients of "train" or of a test set, in roster order."""
        return self.study.members(subset)

    def columns(self, table: str) -> tuple[str, ...]:
        """Columns of a base table, the same at every training site."""
        return self.members[self.study.training_sites[0]].columns[table]

    def count(self, subset: str) -> tuple[int, int]:
        """Patients and positives of a subset over all sites."""
        counts = [self.members[site].counts[subset] for site in self.sites_with(subset)]
        return sum(n for n, _ in counts), sum(positives for _, positives in counts)

    def _items_for(self, site: str, items: Sequence[SumItem]) -> tuple[SumItem, ...]:
        return tuple(item for item in items if site in self.sites_with(item.subset))

    def _keys(self) -> tuple[SignedKey, ...]:
        """Every site's signed key, in roster order; none where nothing is masked."""
        own = [self.members[name].key for name in self.study.site_names if name in self.members]
        return tuple(key for key in own if key is not None)

    def _check_keys(self) -> None:
        """Every site's key is the one it signed for this run; the sites check it again."""
        keys = self._keys()
        if keys:
            roster = roster_digest(self.study.roster)
            check_roster(keys, self.study.roster, self.run, self.study.digest(), roster)

    def _check_columns(self) -> None:
        first = self.members[self.study.training_sites[0]]
        for name in self.study.training_sites[1:]:
            if self.members[name].columns != first.columns:
                raise SiteError(
                    f"its tables have other columns than those of {first.site}",
                    where=f"site {name}",
                    remedy="bring both to the same software versions",
                )

    # -- the wire -------------------------------------------------------------------------------

    def _ask(
        self, exchange: str, requests: Mapping[str, Any], seconds: float
    ) -> Iterator[tuple[str, Any]]:
        """Replies in roster order, one at a time, refusals and problems raised.

        Raises
        ------
        SiteError : a reply to another question, or of another site; nothing of it is handed on.
        """
        by_node = {self.nodes[site]: request for site, request in requests.items()}
        names = {self.nodes[site]: site for site in requests}
        for node, reply in self._exchange_nodes(exchange, by_node, seconds):
            check_answer(by_node[node], reply, names[node])
            yield names[node], reply

    def _exchange_nodes(
        self, exchange: str, requests: Mapping[int, Any], seconds: float | None = None
    ) -> Iterator[tuple[int, Any]]:
        names = {node: site for site, node in self.nodes.items()}
        encoded: dict[int, RecordDict] = {}
        messages: list[Message] = []
        sizes: dict[int, int] = {}
        for node, request in requests.items():
            content = encoded.setdefault(id(request), encode(request))
            sizes[node] = size_of(content)
            messages.append(Message(content, node, exchange))
        if messages:
            self.transfers.begin(exchange)
        ids = list(self.grid.push_messages(messages))
        deadline = time.monotonic() + (seconds or self.study.waiting.enrol_seconds)
        for node, message_id in zip(requests, ids, strict=True):
            where = f"site {names[node]}" if node in names else f"node {node}"
            reply = self._pull(message_id, node, ids, where, deadline)
            decoded = self._open(reply, exchange, names.get(node))
            site = decoded.site if isinstance(decoded, EnrolReply) else names[node]
            if site:
                self.transfers.add(site, exchange, up=size_of(reply.content), down=sizes[node])
            yield node, decoded

    def _pull(
        self, message_id: str, node: int, asked: Sequence[str], where: str, deadline: float
    ) -> Message:
        while True:
            for reply in self.grid.pull_messages([message_id]):
                if is_waited_for(reply, message_id, node, asked, where):
                    return reply
                self.events.tell("stray_reply", where=where)
            if time.monotonic() > deadline:
                raise SiteError(
                    "no reply in time",
                    where=where,
                    remedy="see that the site is running and connected, then resume",
                )
            time.sleep(POLL_SECONDS)

    def _open(self, reply: Message, exchange: str, site: str | None) -> Any:
        """Decode a reply; raise what stands in its place."""
        where = f"site {site}" if site else "a site"
        if reply.has_error():
            raise SiteError(
                f"Flower reports error {reply.error.code}",
                where=where,
                remedy="see the site's own screen and log",
            )
        try:
            decoded = decode(reply.content)
        except ValueError as error:
            raise SiteError(f"unreadable reply: {error}", where=where) from None
        if isinstance(decoded, Problem):
            raise SiteError(
                f"cannot go on ({decoded.kind}, its log {decoded.log_id})",
                where=where,
                remedy="the site's own screen and errors.log say why",
            )
        if isinstance(decoded, Refused):
            for refusal in decoded.refusals:
                entry = {"site": site or "?", **vars(refusal)}
                self.refusals.append(entry)
                self.events.tell("refused", **entry)
            first = decoded.refusals[0]
            raise RefusedError(
                f"refuses: rule {first.rule}, threshold {first.threshold:g}, {first.subject}",
                where=where,
                remedy="bring more patients or agree on another threshold in study and site",
            )
        if not isinstance(decoded, CATALOGUE[exchange].reply):
            raise SiteError("a reply that is not in the catalogue", where=where)
        return decoded


def _ratio(total: float, count: float) -> float:
    return float(total / count) if count else float("nan")
