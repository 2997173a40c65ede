"""Bytes that the study moves at this site, and how long the line takes for them."""

from __future__ import annotations

from collections.abc import Sequence

from client.check.finding import Findings, Load, Speed, not_applicable, not_checked, ok, warning
from common.dossier.disclosure import Phase
from common.dossier.markdown import size
from common.study.model import Study
from server.phases.program import declared_phases

PAYLOAD, TIME = "transfer.payload", "transfer.time"
# What comes is about as much as what goes: weights for weights, and questions carry the totals of
# the answers before them.
BOTH_WAYS = 2
HOUR, DAY = 3600.0, 86400.0


def load_of(study: Study, site: str, training: int) -> tuple[Load, ...]:
    """What this site sends in every phase, at most; phases that ask nothing of it are left out.

    Parameters
    ----------
    training : training patients of this site.
    """
    if site not in study.site_names:
        return ()
    loads = (_of_phase(phase, study, site, training) for phase in declared_phases(study))
    return tuple(load for load in loads if load.total)


def _of_phase(phase: Phase, study: Study, site: str, training: int) -> Load:
    own = [
        (one, one.size * training if one.by_patient else one.size)
        for one in phase.asked_of(study, site)
    ]
    rows = sum(answer * one.rounds for one, answer in own if one.by_patient)
    return Load(
        phase=phase.name,
        rounds=phase.rounds,
        largest=max((answer for _, answer in own), default=0),
        total=phase.bytes_up(study, site) + rows,
    )


def look_at_transfer(loads: Sequence[Load], speed: Speed | None) -> Findings:
    """The largest answer and all together, and the time for a question and its answer."""
    if not loads:
        yield from not_applicable((PAYLOAD, TIME), "the study asks nothing of this site")
        return
    total = sum(load.total for load in loads)
    heaviest = max(loads, key=lambda load: load.largest)
    yield ok(
        PAYLOAD,
        f"at most {size(total)} each way in {sum(load.rounds for load in loads):,} rounds;"
        f" the largest answer is {size(heaviest.largest)} ({heaviest.phase})",
    )
    if speed is None:
        why = "no speed: the coordinator was not reached; give --bandwidth"
        yield from not_checked((TIME,), why)
        return
    whence = "measured" if speed.measured else "assumed"
    each = speed.seconds(BOTH_WAYS * heaviest.largest)
    whole = speed.seconds(BOTH_WAYS * total)
    what = (
        f"at {speed.mbit_per_second:.3g} Mbit/s ({whence}) the largest round takes"
        f" {in_words(each)} on the line, all rounds at most {in_words(whole)}"
    )
    if whole > DAY:
        remedy = "ask for a faster line, or the coordinator for fewer rounds"
        yield warning(TIME, "", what, remedy)
    else:
        yield ok(TIME, what)


def in_words(seconds: float) -> str:
    """A time with its usual unit."""
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * HOUR else f"{seconds / HOUR:.1f} h"
