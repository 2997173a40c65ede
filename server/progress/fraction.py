"""How much of a run is done, as a share that never falls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NETWORKS_SHARE = 0.8  # of the work, where networks are trained at all
MOST = 0.99  # until the run itself says that it is finished


def fraction_done(
    told: Sequence[Mapping[str, Any]],
    phases: Sequence[str],
    begun_with: Mapping[str, int],
    planned: Mapping[str, int],
    done: Mapping[str, int],
) -> float:
    """Share of the work that is done, in [0, 0.99].

    Phases weigh what they weighed when the run began, and only what was reached counts: not the
    time, whose estimate may grow. So the share does not fall as events follow, also not when an
    interrupted run enters its first phase again. Enrolment weighs nothing: it waits for people.

    Parameters
    ----------
    told : events of the run.
    phases : all phases in order.
    begun_with, planned, done : rounds by network: as the run began, as now known, done.
    """
    weights = _weights([phase for phase in phases if phase != "enrolment"], begun_with)
    furthest = _furthest(told, phases)
    reached = 0.0
    for phase, weight in weights.items():
        place = phases.index(phase)
        if place < furthest:
            reached += weight
        elif place == furthest and phase in planned:
            reached += weight * min(1.0, done.get(phase, 0) / max(planned[phase], 1))
    return min(MOST, round(reached, 9))  # a tenth is a tenth, not 0.0999...


def _weights(phases: Sequence[str], rounds: Mapping[str, int]) -> dict[str, float]:
    """The networks share by their rounds, everything else in equal parts; 1 together."""
    networks = {phase: rounds[phase] for phase in phases if rounds.get(phase)}
    others = [phase for phase in phases if phase not in networks]
    share = (NETWORKS_SHARE if others else 1.0) if networks else 0.0
    total = sum(networks.values())
    return {
        phase: share * networks[phase] / total if phase in networks else (1.0 - share) / len(others)
        for phase in phases
    }


def _furthest(told: Iterable[Mapping[str, Any]], phases: Sequence[str]) -> int:
    """Place of the last phase that was ever entered, -1 before the first."""
    entered = (event["phase"] for event in told if event["kind"] == "phase")
    return max((phases.index(phase) for phase in entered if phase in phases), default=-1)
