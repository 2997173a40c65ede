"""Ledgers of several sites side by side: what one site alone cannot see.

A coordinator that cheats must show different things to different sites, or ask the same thing twice
with and without one of them. Each site wrote down what it was shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from common.ledger.entry import Entry, Item

Kind = Literal["study", "roster", "request", "missing", "participants"]
_DIFFERENT: tuple[tuple[Literal["study", "roster"], str], ...] = (
    ("study", "were shown different studies"),
    ("roster", "were shown different rosters"),
)


@dataclass(frozen=True)
class AuditFinding:
    """Something that does not fit between ledgers: at which sites, in which run and exchange."""

    kind: Kind
    sites: tuple[str, ...]
    run: str
    exchange: str
    words: str

    def __str__(self) -> str:
        return f"run {self.run}, exchange {self.exchange}: {' and '.join(self.sites)} {self.words}"


class _Exchange(NamedTuple):
    run: str
    name: str


class _Seen(NamedTuple):
    """An entry in a site's ledger."""

    site: str
    entry: Entry

    def about(self, subset: str) -> bool:
        """Whether it is about this subset."""
        return any(item.subset == subset for item in self.entry.items)


_Exchanges = Mapping[_Exchange, Sequence[_Seen]]


def audit(ledgers: Mapping[str, Sequence[Entry]]) -> list[AuditFinding]:
    """Everything that does not fit; each ledger by itself is checked by `common.ledger.verify`.

    Parameters
    ----------
    ledgers : entries by site. A refusal counts as an answer: it says what the site was asked.
    """
    exchanges: dict[_Exchange, list[_Seen]] = defaultdict(list)
    for site, entries in ledgers.items():
        for entry in entries:
            # what has no run concerns this site alone: a repair, a stopped message, its leaving
            if entry.run and entry.decision != "repaired":
                exchanges[_Exchange(entry.run, entry.exchange_id)].append(_Seen(site, entry))
    found = [f for exchange, seen in exchanges.items() for f in _shown(exchange, seen)]
    return found + _missing(exchanges) + _other_participants(exchanges)


def _shown(exchange: _Exchange, seen: Sequence[_Seen]) -> list[AuditFinding]:
    """One exchange under two studies, under two rosters, or with two requests."""
    found = []
    for kind, words in _DIFFERENT:
        if len({getattr(one.entry, kind) for one in seen}) > 1:
            found.append(_finding(kind, exchange, (one.site for one in seen), words))
    requests: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for one in seen:
        for item in one.entry.items:
            requests[item.subset][one.site].add(item.request)
    for subset, by_site in requests.items():
        if len({frozenset(digests) for digests in by_site.values()}) > 1:
            words = f"were asked for different things about {subset}"
            found.append(_finding("request", exchange, by_site, words))
    return found


def _missing(exchanges: _Exchanges) -> list[AuditFinding]:
    """Releases about a subset that stand in some ledgers and not in those of other holders.

    A holder is a site that the release was masked with, or that was asked about the subset in
    another exchange of the run under the same roster. A coordinator that was interrupted asks all
    sites the same again; what only some had answered stays under masks that never cancel.
    """
    holders: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    answered: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for one in (one for seen in exchanges.values() for one in seen):
        for item in one.entry.items:
            holders[one.entry.run, one.entry.roster, item.subset] |= {one.site, *item.participants}
            answered[one.entry.run, one.entry.roster, one.site].add(item.request)
    absences: dict[tuple[str, str, str], list[_Exchange]] = defaultdict(list)
    for exchange, seen in exchanges.items():
        for roster, subset in _released(seen):
            present = {one.site for one in seen if one.about(subset)}
            for site in sorted(holders[exchange.run, roster, subset] - present):
                if not _masked_requests(seen, subset) <= answered[exchange.run, roster, site]:
                    absences[exchange.run, site, subset].append(exchange)
    found = []
    for (_, site, subset), where in absences.items():
        times = "this exchange" if len(where) == 1 else f"this and {len(where) - 1} more exchanges"
        words = (
            f"has no entry about {subset} for {times}, others have: "
            "it never answered, its ledger is not here or was cut"
        )
        found.append(_finding("missing", where[0], [site], words))
    return found


def _masked_requests(seen: Sequence[_Seen], subset: str) -> set[str]:
    """What was asked about a subset; with "", which nobody is ever asked, if it is in the clear."""
    items = [item for one in seen for item in one.entry.items if item.subset == subset]
    return {item.request if item.masked else "" for item in items}


def _released(seen: Sequence[_Seen]) -> list[tuple[str, str]]:
    """Rosters and subsets under which somebody released."""
    released = (one.entry for one in seen if one.entry.decision == "released")
    return sorted({(entry.roster, item.subset) for entry in released for item in entry.items})


def _other_participants(exchanges: _Exchanges) -> list[AuditFinding]:
    """A statistic released among some sites and again among others: the difference is theirs."""
    releases: dict[tuple[str, str], dict[frozenset[str], tuple[_Exchange, Item]]] = {}
    sites: dict[tuple[str, str], set[str]] = defaultdict(set)
    for exchange, seen in exchanges.items():
        for one in (one for one in seen if one.entry.decision == "released"):
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


def _names(group: frozenset[str]) -> str:
    return ", ".join(sorted(group)) or "nobody else (not masked)"


def _finding(kind: Kind, exchange: _Exchange, sites: Iterable[str], words: str) -> AuditFinding:
    return AuditFinding(kind, tuple(sorted(set(sites))), exchange.run, exchange.name, words)
