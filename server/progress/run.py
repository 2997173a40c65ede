"""Work out from events alone how far a run has come, and how long it may still take."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, median
from typing import Any, Literal

from common.models import NETWORKS

NETWORKS_SHARE = 0.8  # of the work, where networks are trained at all
MOST = 0.99  # until the run itself says that it is finished


def fraction_done(
    log: Sequence[Mapping[str, Any]],
    phases: Sequence[str],
    begun_with: Mapping[str, int],
    planned: Mapping[str, int],
    done: Mapping[str, int],
) -> float:
    """Return the share of the work that is done, in [0, 0.99].

    Phases weigh what they weighed when the run began, and only what was reached counts: not the
    time, whose estimate may grow. So the share does not fall as events follow, also not when an
    interrupted run enters its first phase again. Enrolment weighs nothing: it waits for people.

    Parameters
    ----------
    log : events of the run.
    phases : all phases in order.
    begun_with, planned, done : rounds by network: as the run began, as now known, done.
    """
    weights = _weights([phase for phase in phases if phase != "enrolment"], begun_with)
    furthest = _furthest(log, phases)
    reached = 0.0
    for phase, weight in weights.items():
        place = phases.index(phase)
        if place < furthest:
            reached += weight
        elif place == furthest and phase in planned:
            reached += weight * min(1.0, done.get(phase, 0) / max(planned[phase], 1))
    return min(MOST, round(reached, 9))  # a tenth is a tenth, not 0.0999...


def _weights(phases: Sequence[str], rounds: Mapping[str, int]) -> dict[str, float]:
    """Weigh the networks by their rounds, all else in equal parts; 1 together."""
    networks = {phase: rounds[phase] for phase in phases if rounds.get(phase)}
    others = [phase for phase in phases if phase not in networks]
    share = (NETWORKS_SHARE if others else 1.0) if networks else 0.0
    total = sum(networks.values())
    return {
        phase: share * networks[phase] / total if phase in networks else (1.0 - share) / len(others)
        for phase in phases
    }


def _furthest(log: Iterable[Mapping[str, Any]], phases: Sequence[str]) -> int:
    """Return the place of the last phase that was ever entered, -1 before the first."""
    entered = (event["phase"] for event in log if event["kind"] == "phase")
    return max((phases.index(phase) for phase in entered if phase in phases), default=-1)


State = Literal["not started", "under way", "finished", "stopped"]
_RECENT = 20  # rounds whose pace counts: hospitals get faster and slower


@dataclass(frozen=True)
class SiteContact:
    """Contact with a site in this run.

    Parameters
    ----------
    enrolled : whether it has joined.
    last_contact : of its last reply, seconds since the epoch; None before the first.
    bytes_up, bytes_down : of its replies and of the requests to it.
    waited_for_since : seconds since the epoch, None where nobody waits for it.
    why : it is late, where that is known.
    """

    enrolled: bool = False
    last_contact: float | None = None
    bytes_up: int = 0
    bytes_down: int = 0
    waited_for_since: float | None = None
    why: str = ""


@dataclass(frozen=True)
class RunProgress:
    """State and progress of a run.

    Parameters
    ----------
    state : as the run itself last said; it cannot say that its machine went down.
    phase, number, phases : the phase it is in, "" before the first; the how-manieth of how many.
    network, variant, round, rounds : the last round of training in this phase, and how many the
        variant has; "" and 0 where none was.
    rounds_done, rounds_planned : of all network training of the study.
    fraction : share of the work that is done; it does not fall, and is 1 only at the end.
    seconds_left : estimate, None = unknown, before anything like it was measured.
    sites : by name.
    message : why it has stopped.
    obstacles : every reason of every site that could not enrol, where that is why.
    """

    state: State = "not started"
    phase: str = ""
    number: int = 0
    phases: int = 0
    network: str = ""
    variant: str = ""
    round: int = 0
    rounds: int = 0
    rounds_done: int = 0
    rounds_planned: int = 0
    fraction: float = 0.0
    seconds_left: float | None = None
    sites: Mapping[str, SiteContact] = field(default_factory=dict)
    message: str = ""
    obstacles: Sequence[Mapping[str, Any]] = ()


def progress_of(events: Iterable[Mapping[str, Any]], now: float) -> RunProgress:
    """Return the progress of the run whose events these are, in order.

    Parameters
    ----------
    now : seconds since the epoch.
    """
    log = list(events)
    plan = _last(log, "started", "resumed")
    phase = _last(log, "phase")
    in_phase = [e for e in _since(log, phase) if e["kind"] == "round"]
    last_round: Mapping[str, Any] = in_phase[-1] if in_phase else {}
    rounds = _rounds(log)
    planned = _planned(log, plan)
    state, message = _state(log)
    return RunProgress(
        state=state,
        phase=str(phase.get("phase", "")),
        number=int(phase.get("number", 0)),
        phases=int(phase.get("phases", 0)),
        network=str(last_round.get("network", "")),
        variant=str(last_round.get("variant", "")),
        round=int(last_round.get("round", 0)),
        rounds=int(last_round.get("rounds", 0)),
        rounds_done=sum(map(len, rounds.values())),
        rounds_planned=sum(planned.values()),
        fraction=1.0 if state == "finished" else _fraction(log, plan, planned, rounds),
        seconds_left=_seconds_left(log, plan, planned, rounds, now)
        if state == "under way"
        else None,
        sites=_sites(log),
        message=message,
        obstacles=_obstacles(log, plan) if state == "stopped" else (),
    )


def _obstacles(
    log: Sequence[Mapping[str, Any]], plan: Mapping[str, Any]
) -> Sequence[Mapping[str, Any]]:
    """Return the reasons of those who could not enrol, in the last start of the run."""
    return tuple(_last(_since(log, plan), "not_enrolled").get("rows", ()))


def _fraction(
    log: Sequence[Mapping[str, Any]],
    plan: Mapping[str, Any],
    planned: Mapping[str, int],
    rounds: Mapping[str, Mapping[tuple[str, int], float]],
) -> float:
    done = {name: len(found) for name, found in rounds.items()}
    return fraction_done(log, plan.get("phases", ()), plan.get("rounds", {}), planned, done)


def _last(log: Sequence[Mapping[str, Any]], *kinds: str) -> Mapping[str, Any]:
    return next((event for event in reversed(log) if event["kind"] in kinds), {})


def _since(
    log: Sequence[Mapping[str, Any]], start: Mapping[str, Any]
) -> Sequence[Mapping[str, Any]]:
    for index in range(len(log) - 1, -1, -1):
        if log[index] is start:
            return log[index:]
    return ()


def _state(log: Sequence[Mapping[str, Any]]) -> tuple[State, str]:
    last = _last(log, "started", "resumed", "finished", "failed", "crashed")
    kind = last.get("kind", "")
    if kind in ("failed", "crashed"):
        return "stopped", str(last.get("message", ""))
    if kind == "finished":
        return "finished", ""
    return ("under way" if log else "not started"), ""


def _rounds(log: Iterable[Mapping[str, Any]]) -> dict[str, dict[tuple[str, int], float]]:
    """Return seconds by variant and round of every network; a repeated round counts once."""
    found: dict[str, dict[tuple[str, int], float]] = {}
    for event in log:
        if event["kind"] == "round":
            key = (str(event["variant"]), int(event["round"]))
            found.setdefault(str(event["network"]), {})[key] = float(event["seconds"])
    return found


def _planned(log: Iterable[Mapping[str, Any]], plan: Mapping[str, Any]) -> dict[str, int]:
    """Return the rounds planned a network; a training that has begun may need fewer."""
    planned: dict[str, int] = dict(plan.get("rounds", {}))
    trainings = plan.get("trainings")
    if trainings is None:
        return planned
    usual = {name: rounds // trainings for name, rounds in planned.items()}
    own: dict[tuple[str, str], int] = {}
    for event in log:
        if event["kind"] in ("round", "stopped_early"):
            most = event["rounds" if event["kind"] == "round" else "round"]
            own[event["network"], event["variant"]] = int(most)
    for (network, _), most in own.items():
        planned[network] -= usual[network] - most
    return planned


def _sites(log: Iterable[Mapping[str, Any]]) -> dict[str, SiteContact]:
    contacts: dict[str, dict[str, Any]] = {}
    waiting: dict[str, dict[str, Any]] = {}
    for event in log:
        kind, when = event["kind"], float(event["time"])
        if kind in ("started", "resumed", "failed", "crashed", "finished"):
            waiting = {}
        elif kind == "enrolled":
            contacts.setdefault(event["site"], {})["enrolled"] = True
        elif kind == "contact":
            known = contacts.setdefault(event["site"], {})
            known["last_contact"] = when
            known["bytes_up"] = known.get("bytes_up", 0) + event["up"]
            known["bytes_down"] = known.get("bytes_down", 0) + event["down"]
            waiting.pop(event["site"], None)
        elif kind == "waiting":
            waiting = {
                site["site"]: {"waited_for_since": when - site["seconds"], "why": site["why"]}
                for site in event["sites"]
            }
    names = [*contacts, *(name for name in waiting if name not in contacts)]
    return {name: SiteContact(**contacts.get(name, {}), **waiting.get(name, {})) for name in names}


def _seconds_left(
    log: Sequence[Mapping[str, Any]],
    plan: Mapping[str, Any],
    planned: Mapping[str, int],
    rounds: Mapping[str, Mapping[tuple[str, int], float]],
    now: float,
) -> float | None:
    """Estimate the rest of the rounds of training, and of the questions of the other phases.

    A round takes as long as those of its network, with what lies between them, or of the slowest
    one before its first. A question takes as long as those so far, of the phase alike where there
    is one: between two machines that is mostly the time on the way. A forest that combines models,
    the scoring of the final ones, and the report take their own time. Enrolment tells nothing: it
    waits for people.
    """
    pace = _paces(log)
    # of a phase that was interrupted the last one is the whole
    done = {str(e["phase"]): float(e["seconds"]) for e in log if e["kind"] == "phase_done"}
    asked = {name: took for name, took in _questions(log).items() if name not in planned}
    current = str(_last(log, "phase").get("phase", ""))
    left = 0.0
    for phase in _ahead(log, plan, done):
        if phase in planned:
            known = pace.get(phase, max(pace.values(), default=None))
            if known is None:
                return None
            left += known * (planned[phase] - len(rounds.get(phase, ())))
            continue
        seconds = _seconds_a_question(phase, asked)
        if seconds is None:
            return None
        so_far = len(asked.get(phase, ()))
        rest = max(_usual(phase, asked, done) - so_far, _MORE_THAN_USUAL * so_far)
        whole = seconds * rest + _apart(phase, log, plan, pace)
        # the one that is under way has taken part of its time; if overdue, it may take more
        silence = _silence(log, now) if phase == current else 0.0
        left += max(whole - silence, _OVERDUE * min(silence, whole))
    return left + (_of_the_report(log, now) if plan.get("reports") else 0.0)


def _of_the_report(log: Sequence[Mapping[str, Any]], now: float) -> float:
    """Return the seconds that writing the report will still take."""
    last = _last(log, "phase_done", "phase")
    begun = last.get("kind") == "phase_done" and last.get("phase") == "evaluation"
    so_far = max(0.0, now - float(last["time"])) if begun else 0.0
    return max(REPORT_SECONDS - so_far, _OVERDUE * min(so_far, REPORT_SECONDS))


def _paces(log: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return the mean seconds from round to round by network, over the recent rounds.

    What lies between the rounds of two variants counts; a night between two starts does not.
    """
    gaps: dict[str, list[float]] = {}
    before: float | None = None
    for event in log:
        if event["kind"] == "round":
            seconds, when = float(event["seconds"]), float(event["time"])
            own = gaps.setdefault(str(event["network"]), [])
            own.append(seconds if before is None else max(seconds, when - before))
            before = when
        elif event["kind"] in ("started", "resumed", "phase"):
            before = None
    return {name: mean(own[-_RECENT:]) for name, own in gaps.items()}


# questions as measured in whole studies; a phase of another kind has about as many as most
USUAL_QUESTIONS = {
    "table1": 2,
    "clinical": 17,
    "radiomics": 24,
    "fusion_feature": 24,
    "fusion_decision": 3,
    "evaluation": 7,
}
_OTHER_QUESTIONS, _MORE_THAN_USUAL, _OVERDUE = 10, 0.1, 0.25
_ENOUGH = 6
_ALIKE = {"fusion_feature": "radiomics"}


_BASE_MODELS = ("clinical", "radiomics", *NETWORKS)
FOREST_SECONDS, SCORING_SECONDS, REPORT_SECONDS = 4.0, 20.0, 5.0
"""Seconds for a forest cross-validated on the pooled rows of some hundred patients, and for the
final models' attacks and scores at all hospitals together, and for the report; as measured in whole
studies."""


def _usual(phase: str, asked: Mapping[str, Sequence[float]], done: Collection[str]) -> float:
    """Return how many questions a phase has: as many as the one alike, where that is done."""
    alike = _ALIKE.get(phase, "")
    if alike in done and asked.get(alike):
        return float(len(asked[alike]))
    return float(USUAL_QUESTIONS.get(phase, _OTHER_QUESTIONS))


def _apart(
    phase: str,
    log: Sequence[Mapping[str, Any]],
    plan: Mapping[str, Any],
    pace: Mapping[str, float],
) -> float:
    """Return the seconds of a phase that the number of its questions does not tell."""
    here = _last(log, "phase")
    begun = _since(log, here) if here.get("phase") == phase else ()
    if phase == "evaluation" and plan.get("rounds"):
        sites = {e["site"] for e in log if e["kind"] == "enrolled"}
        scored = {e["site"] for e in begun if e.get("exchange") == "evaluate.handout"}
        whole = SCORING_SECONDS + max(pace.values(), default=0.0)
        return whole * len(sites - scored) / max(len(sites), 1)
    several = sum(one in _BASE_MODELS for one in plan.get("phases", ())) > 1
    if phase == "fusion_decision" and several:
        fitted = {e["candidate"] for e in begun if e["kind"] == "stacker"}
        return 0.0 if "forest" in fitted else FOREST_SECONDS
    return 0.0


def _questions(log: Iterable[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Return the seconds from reply to reply of every phase's busiest hospital, enrolment apart.

    Those in which somebody was away count as the usual ones of their phase.
    """
    gaps: dict[str, dict[str, list[float]]] = {}
    latest: dict[str, float] = {}
    phase, begin, waited = "", 0.0, 0.0
    for event in log:
        when = float(event["time"])
        if event["kind"] == "waiting" and any(site["why"] for site in event["sites"]):
            waited = when
        if event["kind"] == "phase":
            phase, begin = str(event["phase"]), when
        elif event["kind"] == "contact" and phase != "enrolment":
            site = str(event["site"])
            own = gaps.setdefault(phase, {}).setdefault(site, [])
            since = max(begin, latest.get(site, 0.0))
            usual = median(own) if own and waited > since else when - since
            own.append(min(usual, when - since))
            latest[site] = when
    return {name: max(own.values(), key=len) for name, own in gaps.items()}


def _seconds_a_question(phase: str, asked: Mapping[str, Sequence[float]]) -> float | None:
    """Return the usual time of a question of this phase, None before anything was measured.

    That is the mean of the phase and the one alike, as some questions take many times as long as
    others; of all, as long as few of this phase were asked, as its first ones are short.
    """
    found = [*asked.get(phase, ()), *asked.get(_ALIKE.get(phase, ""), ())]
    if len(found) >= _ENOUGH:
        return mean(found)
    recent = [seconds for took in asked.values() for seconds in took][-_RECENT:]
    if not recent:
        return None
    return mean(recent) if found else median(recent)


def _silence(log: Sequence[Mapping[str, Any]], now: float) -> float:
    """Return the seconds since the last reply or the begin of the phase."""
    return max(0.0, now - float(_last(log, "contact", "phase")["time"]))


def _ahead(
    log: Sequence[Mapping[str, Any]], plan: Mapping[str, Any], done: Collection[str]
) -> list[str]:
    """Return the phases that are not done, enrolment apart, from the current one on."""
    phases: Sequence[str] = plan.get("phases", ())
    current = _last(log, "phase").get("phase")
    rest = phases[phases.index(current) :] if current in phases else phases
    return [phase for phase in rest if phase not in (*done, "enrolment")]
