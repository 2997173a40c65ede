"""Words about hospitals that left or are away, for one that approves a study without them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from client.store.departures import Departures, utc_now
from client.store.masks import Rosters
from common.masking import identity
from common.masking.absence import AbsentSite
from common.masking.lost_keys import LetGoSite
from common.study.model import Study


def describe_left(study: Study, work: Path) -> Iterator[str]:
    """Describe the hospitals that a study goes on without, to the site that has these records."""
    if study.left:
        yield "WHO LEFT FOR GOOD, and signed that its own sums may be found by subtraction:"
    rosters, departures = Rosters(work), Departures(work, study)
    for statement in study.left:
        name, known = statement.site, rosters.recall(statement.roster)
        shown = identity.fingerprint(identity.public_key(statement.public_key))
        yield f"  {name}: key {shown}, roster {statement.roster[:12]}"
        if isinstance(statement, AbsentSite):
            yield f"    it signed beforehand, for study {statement.study[:12]} alone"
        if isinstance(statement, LetGoSite):
            yield from _describe_lost(statement)
        if departures.proves(statement):
            yield (
                f"    this is {name}'s key on record here: sums that were given together with"
                f" {name} are given again without it, and the difference is {name}'s alone;"
                " this hospital's stay hidden among those of the hospitals that stay"
            )
            if isinstance(statement, AbsentSite):
                yield from _describe_absence(statement, departures)
        elif isinstance(statement, LetGoSite) and rosters.proves(statement):
            yield (
                "    NOT ENOUGH: the coordinator and two other hospitals of that roster must"
                " confirm the new key (fedlnm-site confirm); sums over the same patients stay"
                " refused"
            )
        elif known:
            yield (
                f"    NOT a key that {name} has on record here: do not approve, ask {name} by"
                " phone; sums over the same patients stay refused"
            )
        else:
            yield "    nothing is on record here of this roster: its statement changes nothing here"


def to_be_called(study: Study, work: Path) -> tuple[str, ...]:
    """Return the hospitals that are gone without having said so now, and that only a call finds."""
    departures = Departures(work, study)
    unheard = (one for one in study.left if isinstance(one, AbsentSite | LetGoSite))
    return tuple(dict.fromkeys(one.site for one in unheard if departures.proves(one)))


def _describe_lost(request: LetGoSite) -> Iterator[str]:
    who = ", ".join(one.site or "the coordinator" for one in request.confirmations) or "nobody"
    yield (
        f"    it lost this key, and signed with a new one: {request.fingerprint()}, confirmed by"
        f" {who}. CALL {request.site}, at a number that you know already, and let them read it to"
        " you: a coordinator with two hospitals on its side could have made it up"
    )


def _describe_absence(consent: AbsentSite, departures: Departures) -> Iterator[str]:
    name, last = consent.site, departures.last_sum_with(consent.site)
    if last is None:
        yield f"    this hospital never gave a sum together with {name}"
        return
    days = (utc_now() - last).days
    counted = (
        f"by this hospital's ledger the last sum together with {name} was given on"
        f" {last:%Y-%m-%d}, {days} day(s) ago; {name} agreed to be left out after more than"
        f" {consent.days}"
    )
    if consent.holds(last, utc_now()):
        yield f"    {counted}"
    else:
        yield (
            f"    TOO EARLY: {counted}. Nothing of this study is answered before"
            f" {consent.holds_from(last):%Y-%m-%d %H:%M} UTC"
        )
    yield (
        f"    CALL {name}, at a number that you know already: a coordinator that keeps it out looks"
        " the same from here. Approve only if it is away, or says that it agrees"
    )
