"""Compare the ledgers of several sites, for what one site alone cannot see.

A coordinator that cheats must show different things to different sites, or ask the same thing twice
with and without one of them, or ask one site alone until its refusals reveal what it wants to know.
Each site recorded what it was shown, and what it did not answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from common.ledger.entry import Entry, Item, left_out_of, step_of, training_of

Kind = Literal[
    "study", "roster", "request", "missing", "stopped", "alone", "participants", "opened"
]
_DIFFERENT: tuple[tuple[Literal["study", "roster"], str], ...] = (
    ("study", "were shown different studies"),
    ("roster", "were shown different rosters"),
)
_ENROLMENT = "query.enrol"
# a coordinator names each of these exchanges; without a name it cannot be identified
_NAMED = ("query.sum", "train.network")


@dataclass(frozen=True)
class AuditFinding:
    """Contradiction between ledgers, with its sites, run and exchange.

    Parameters
    ----------
    others : sites whose ledgers lack what those of `sites` have, where that is the finding.
    """

    kind: Kind
    sites: tuple[str, ...]
    run: str
    exchange: str
    words: str
    others: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"run {self.run}, exchange {self.exchange}: {' and '.join(self.sites)} {self.words}"


class _Exchange(NamedTuple):
    """Name of an exchange by the coordinator, or else its kind, which occurs once in a run."""

    run: str
    name: str


class _Seen(NamedTuple):
    """Entry in a site's ledger."""

    site: str
    entry: Entry

    def about(self, subset: str) -> bool:
        """Return whether it is about this subset."""
        return any(item.subset == subset for item in self.entry.items)

    @property
    def declined(self) -> bool:
        """True when the site was asked and did not give what it was asked for."""
        return self.entry.decision != "released"

    @property
    def wordless(self) -> bool:
        """True when the exchange was stopped before the site knew its subject."""
        return self.declined and not self.entry.items


_Exchanges = Mapping[_Exchange, Sequence[_Seen]]


def audit(ledgers: Mapping[str, Sequence[Entry]]) -> list[AuditFinding]:
    """Return all contradictions; `common.ledger.verify` checks each ledger by itself.

    Parameters
    ----------
    ledgers : entries by site. A refusal counts as an answer: it states what the site was asked.
    """
    exchanges: dict[_Exchange, list[_Seen]] = defaultdict(list)
    for site, entries in ledgers.items():
        for entry in entries:
            if name := _name(entry):
                exchanges[_Exchange(entry.run, name)].append(_Seen(site, entry))
    asked = _Asked(exchanges)
    found = [f for exchange, seen in exchanges.items() for f in _shown(exchange, seen)]
    found += _missing(exchanges, asked)
    found += _alone(exchanges, asked, {site for site, entries in ledgers.items() if entries})
    return found + _other_participants(exchanges) + _opened_twice(exchanges)


def _name(entry: Entry) -> str:
    """Return the name of the exchange; empty where other sites could not have had it."""
    # an entry without a run concerns this site alone: a repair, an unreadable message, its leaving
    if not entry.run or entry.decision == "repaired":
        return ""
    unknown = not entry.exchange_id and entry.exchange in _NAMED
    return "" if unknown else entry.exchange_id or entry.exchange


def _shown(exchange: _Exchange, seen: Sequence[_Seen]) -> list[AuditFinding]:
    """Find one exchange under two studies, under two rosters, or with two requests."""
    found = []
    for kind, words in _DIFFERENT:
        # an exchange that was stopped early has neither
        if len({getattr(one.entry, kind) for one in seen} - {""}) > 1:
            found.append(_finding(kind, exchange, (one.site for one in seen), words))
    requests: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for one in seen:
        for item in one.entry.items:
            requests[item.subset][one.site].add(item.request)
    for subset, by_site in requests.items():
        if len({frozenset(digests) for digests in by_site.values()}) > 1:
            words = f"were asked for different things about {subset}"
            if declined := sorted({one.site for one in seen if one.declined and one.about(subset)}):
                words += f" ({' and '.join(declined)} did not answer)"
            found.append(_finding("request", exchange, by_site, words))
    return found


class _Asked:
    """Sites that had to be asked each question, according to all ledgers together."""

    def __init__(self, exchanges: _Exchanges) -> None:
        self._of_run: dict[tuple[str, ...], set[str]] = defaultdict(set)
        self._of_study: dict[tuple[str, ...], set[str]] = defaultdict(set)
        self._requests: dict[tuple[str, str, str], set[str]] = defaultdict(set)
        self._in_run: dict[str, set[str]] = defaultdict(set)
        self._away: dict[tuple[str, str], set[str]] = defaultdict(set)
        for one in (one for seen in exchanges.values() for one in seen):
            entry = one.entry
            self._in_run[entry.run].add(one.site)
            for item in entry.items:
                sites = {one.site, *item.participants}
                self._of_run[entry.run, entry.roster, item.subset] |= sites
                self._of_study[entry.study, entry.roster, item.subset] |= sites
                self._requests[entry.run, entry.roster, one.site].add(item.request)
                away = self._away[entry.run, training_of(item.what)]
                away.update(left_out_of(item.what))

    def holders(self, entry: Entry, subset: str) -> set[str]:
        """Return the sites that had to be asked about a subset together with the one of this entry.

        They are those that it was masked with, or that were asked about the subset in another
        exchange under the same roster. Before all have enrolled a run asks for nothing else; until
        then it may be waiting for some.
        """
        if entry.exchange == _ENROLMENT:
            return self._of_run[entry.run, entry.roster, subset]
        return self._of_study[entry.study, entry.roster, subset]

    def away(self, entry: Entry) -> set[str]:
        """Return the sites that the training which an entry is about went on without.

        All sites whose updates it added have signed so.
        """
        trainings = {training_of(item.what) for item in entry.items} - {""}
        return {site for one in trainings for site in self._away[entry.run, one]}

    def in_run(self, run: str) -> set[str]:
        """Return the sites that have any entry of a run."""
        return self._in_run[run]

    def again(self, run: str, roster: str, site: str, requests: set[str]) -> bool:
        """Return whether all this was asked of the site in some exchange of the run.

        A coordinator that was interrupted asks all sites the same again.
        """
        return requests <= self._requests[run, roster, site]


def _missing(exchanges: _Exchanges, asked: _Asked) -> list[AuditFinding]:
    """Find releases about a subset that are in some ledgers and not in those of other holders.

    Of a sum that was asked again, an answer that only some had given stays under masks that never
    cancel.
    """
    absences: dict[tuple[str, str, str, bool], list[_Exchange]] = defaultdict(list)
    for exchange, seen in exchanges.items():
        for entry, subset in _subsets(one for one in seen if not one.declined):
            present = {one.site for one in seen if one.about(subset)}
            silent = {one.site for one in seen if one.wordless}
            holders = asked.holders(entry, subset) - asked.away(entry)
            for site in sorted(holders - present):
                requests = _masked_requests(seen, subset)
                if not asked.again(exchange.run, entry.roster, site, requests):
                    absences[exchange.run, site, subset, site in silent].append(exchange)
    found = []
    for (_, site, subset, stopped), where in absences.items():
        if stopped:
            words = f"stopped {_times(where)} in which others released of {subset}"
            words += ": it wrote down why, but not what it had been asked"
        else:
            words = f"has no entry about {subset} for {_times(where)}, others have: "
            words += "it was not asked or never answered, or its ledger is not here or was cut"
        found.append(_finding("stopped" if stopped else "missing", where[0], [site], words))
    return found


def _alone(exchanges: _Exchanges, asked: _Asked, here: set[str]) -> list[AuditFinding]:
    """Find requests that sites refused or stopped, nobody released, and other holders never got.

    Parameters
    ----------
    here : sites that have a ledger; that others lack one is reported elsewhere.
    """
    apart: dict[tuple[str, tuple[str, ...], tuple[str, ...], str], list[_Exchange]] = {}
    for exchange, seen in exchanges.items():
        if any(not one.declined for one in seen):
            continue
        sites = {one.site for one in seen}
        for entry, subset in _subsets(seen):
            present = {one.site for one in seen if one.about(subset) or one.wordless}
            requests = {i.request for o in seen for i in o.entry.items if i.subset == subset}
            absent = {
                site
                for site in (asked.holders(entry, subset) & here) - present - asked.away(entry)
                if not asked.again(exchange.run, entry.roster, site, requests)
            }
            if absent:
                key = (exchange.run, _sorted(present), _sorted(absent), f" about {subset}")
                apart.setdefault(key, []).append(exchange)
        if all(one.wordless for one in seen) and (others := asked.in_run(exchange.run) - sites):
            key = (exchange.run, _sorted(sites), _sorted(others), "")
            apart.setdefault(key, []).append(exchange)
    return [
        AuditFinding(
            "alone",
            present,
            run,
            where[0].name,
            f"refused or stopped {_times(where)}{about} that {' and '.join(absent)} never had: a"
            " question put to some sites only, or the run was broken off there",
            absent,
        )
        for (run, present, absent, about), where in apart.items()
    ]


def _sorted(sites: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(sites))


def _times(where: Sequence[_Exchange]) -> str:
    return "this exchange" if len(where) == 1 else f"this and {len(where) - 1} more exchanges"


def _masked_requests(seen: Sequence[_Seen], subset: str) -> set[str]:
    """Return the requests about a subset, with "", which no site gets, if any is in the clear."""
    items = [item for one in seen for item in one.entry.items if item.subset == subset]
    return {item.request if item.masked else "" for item in items}


def _subsets(seen: Iterable[_Seen]) -> Iterator[tuple[Entry, str]]:
    """Yield each roster and subset of the entries, with the first entry about it."""
    first: dict[tuple[str, str], Entry] = {}
    for one in seen:
        for item in one.entry.items:
            first.setdefault((one.entry.roster, item.subset), one.entry)
    yield from ((entry, subset) for (_, subset), entry in sorted(first.items(), key=lambda f: f[0]))


def _other_participants(exchanges: _Exchanges) -> list[AuditFinding]:
    """Find a statistic released among some sites and again among others, revealed by difference."""
    releases: dict[tuple[str, str], dict[frozenset[str], tuple[_Exchange, Item]]] = {}
    sites: dict[tuple[str, str], set[str]] = defaultdict(set)
    for exchange, seen in exchanges.items():
        for one in (one for one in seen if not one.declined):
            for item in one.entry.items:
                key = (one.entry.study, item.statistic)
                groups = releases.setdefault(key, {})
                groups.setdefault(frozenset(item.participants), (exchange, item))
                sites[key].add(one.site)
    found = []
    for key, groups in releases.items():
        (first, (exchange, _)), *others = groups.items()
        for group, (again, item) in others:
            words = (
                f"released {item.what} of {item.subset} among {_names(group)}, and in run "
                f"{exchange.run}, exchange {exchange.name}, among {_names(first)}"
            )
            found.append(_finding("participants", again, sites[key], words))
    return found


def _opened_twice(exchanges: _Exchanges) -> list[AuditFinding]:
    """Find steps of a training of which sums over different sites were opened."""
    sums: dict[tuple[str, str], dict[tuple[str, ...], set[str]]] = {}
    last: dict[tuple[str, str], _Exchange] = {}
    for exchange, seen in exchanges.items():
        for one in (one for one in seen if not one.declined):
            for item in one.entry.items:
                if step := step_of(item.what):
                    own = sums.setdefault((exchange.run, step), defaultdict(set))
                    own[left_out_of(item.what)].add(one.site)
                    last[exchange.run, step] = exchange
    found = []
    for (run, step), by_missing in sums.items():
        if len(by_missing) > 1:
            sets = " and ".join(f"without {', '.join(m)}" if m else "of all" for m in by_missing)
            words = f"opened different sums of {step}: {sets}"
            sites = set().union(*by_missing.values())
            found.append(_finding("opened", last[run, step], sites, words))
    return found


def _names(group: frozenset[str]) -> str:
    return ", ".join(sorted(group)) or "nobody else (not masked)"


def _finding(kind: Kind, exchange: _Exchange, sites: Iterable[str], words: str) -> AuditFinding:
    return AuditFinding(kind, tuple(sorted(set(sites))), exchange.run, exchange.name, words)
