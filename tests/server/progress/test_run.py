"""Progress of a run and time left, from its events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from server.progress.events import read_events
from server.progress.run import FOREST_SECONDS, RunProgress, SiteContact, progress_of

RECORDED = Path(__file__).resolve().parents[2] / "fixtures" / "recorded_imaging_run.jsonl"

PLAN: dict[str, Any] = {
    "phases": ["enrolment", "table1", "clinical", "dl2d", "dl3d", "fusion_decision", "evaluation"],
    "rounds": {"dl2d": 6, "dl3d": 12},
}


class Run:
    """Events of a run, each a second or more after the one before."""

    def __init__(self, kind: str = "started") -> None:
        self.now = 1000.0
        self.events: list[dict[str, Any]] = []
        self.emit(kind, **PLAN)

    def emit(self, kind: str, after: float = 1.0, **details: Any) -> Run:
        """One event more."""
        self.now += after
        self.events.append({"time": self.now, "kind": kind, **details})
        return self

    def enter(self, phase: str) -> Run:
        """The start of a phase."""
        number = PLAN["phases"].index(phase) + 1
        return self.emit("phase", phase=phase, number=number, phases=7)

    def complete(self, phase: str, seconds: float) -> Run:
        """A whole phase."""
        self.enter(phase)
        return self.emit("phase_done", after=seconds, phase=phase, seconds=seconds)

    def contact(self, site: str, after: float) -> Run:
        """A reply of a hospital."""
        return self.emit("contact", after=after, site=site, exchange="query.sum", up=1, down=1)

    def answer(self, phase: str, questions: int, seconds: float) -> Run:
        """A whole phase of so many questions of this length."""
        self.enter(phase)
        for _ in range(questions):
            self.contact("a", seconds)
        whole = questions * seconds
        return self.emit("phase_done", after=0.0, phase=phase, seconds=whole)

    def round(self, network: str, variant: str, number: int, seconds: float) -> Run:
        """One round of three."""
        known: dict[str, Any] = {
            "network": network,
            "variant": variant,
            "round": number,
            "rounds": 3,
        }
        return self.emit("round", after=seconds, loss=0.5, seconds=seconds, **known)

    @property
    def progress(self) -> RunProgress:
        """As it stands now."""
        return progress_of(self.events, self.now)


def begun() -> Run:
    return Run().complete("enrolment", 5000.0)


def test_nothing_is_known_of_a_run_without_events() -> None:
    assert progress_of([], 0.0) == RunProgress()


def test_phase_and_round_are_those_told_last() -> None:
    run = begun().complete("table1", 4.0).enter("dl2d")
    run.round("dl2d", "fold0", 1, 10.0).round("dl2d", "fold0", 2, 10.0)
    found = run.progress
    assert (found.state, found.phase, found.number, found.phases) == ("under way", "dl2d", 4, 7)
    assert (found.network, found.variant, found.round, found.rounds) == ("dl2d", "fold0", 2, 3)
    assert (found.rounds_done, found.rounds_planned) == (2, 18)
    run.enter("fusion_decision")
    assert (run.progress.variant, run.progress.round) == ("", 0)


def test_the_time_left_is_unknown_until_something_was_measured() -> None:
    run = begun()
    assert run.progress.seconds_left is None
    run.complete("table1", 4.0).enter("clinical")
    assert run.progress.seconds_left is None  # no round of any network
    run.complete("clinical", 8.0).enter("dl2d")
    assert run.progress.seconds_left is None


def test_rounds_that_are_left_take_as_long_as_those_of_their_network() -> None:
    run = begun().answer("table1", 2, 4.0).answer("clinical", 15, 4.0).enter("dl2d")
    for number, seconds in enumerate((10.0, 12.0, 26.0), start=1):
        run.round("dl2d", "fold0", number, seconds)
    # 3 of dl2d, 12 of dl3d at the same pace, and ten questions
    assert run.progress.seconds_left == pytest.approx(15 * 16.0 + 10 * 4.0 + FOREST_SECONDS)
    run.complete("dl2d", 100.0).enter("dl3d").round("dl3d", "fold0", 1, 40.0)
    assert run.progress.seconds_left == pytest.approx(11 * 40.0 + 10 * 4.0 + FOREST_SECONDS)


def test_what_lies_between_two_trainings_counts_as_time_of_their_rounds() -> None:
    run = begun().answer("clinical", 15, 0.0).enter("dl2d")
    run.round("dl2d", "fold0", 1, 10.0)
    run.now += 20.0
    run.round("dl2d", "fold1", 1, 10.0)
    assert run.progress.seconds_left == pytest.approx(16 * 20.0 + FOREST_SECONDS)


def test_a_question_that_is_under_way_has_its_own_time_taken_off() -> None:
    run = Run().answer("clinical", 15, 10.0)
    run.enter("dl2d").round("dl2d", "final", 1, 1.0)
    run.complete("dl2d", 9.0).complete("dl3d", 9.0).answer("fusion_decision", 3, 10.0)
    run.enter("evaluation")
    assert run.progress.seconds_left == pytest.approx(70.0)
    run.now += 4.0
    assert run.progress.seconds_left == pytest.approx(66.0)
    run.now += 300.0  # overdue: nobody knows by how much
    assert run.progress.seconds_left == pytest.approx(17.5)


@pytest.mark.parametrize(
    "questions",
    [
        # as counted in studies without networks: heart (four hospitals), phantoms (three, eight)
        {"table1": 4, "clinical": 19, "fusion_decision": 3, "evaluation": 7},
        {"table1": 2, "clinical": 15, "fusion_decision": 3, "evaluation": 6},
        {"table1": 2, "clinical": 13, "fusion_decision": 3, "evaluation": 7},
    ],
)
def test_in_a_deployment_the_time_left_is_within_a_factor_of_one_and_a_half_of_the_truth(
    questions: dict[str, int],
) -> None:
    plan = {"phases": ["enrolment", *questions], "rounds": {}}
    run = Run()
    run.events[0] |= plan
    run.emit("phase", phase="enrolment", number=1, phases=5)
    run.emit("phase_done", after=100.0, phase="enrolment", seconds=100.0)
    begin = run.now
    for number, (phase, count) in enumerate(questions.items(), start=2):
        run.emit("phase", after=0.0, phase=phase, number=number, phases=5)
        start = run.now
        for question in range(count):
            # the time on the way, and a little more or less computing
            run.contact("a", 6.0 + question % 3)
        run.emit("phase_done", after=0.0, phase=phase, seconds=run.now - start)
    end, whole = run.now, run.now - begin
    checked = 0
    for place, event in enumerate(run.events):
        left = end - event["time"]
        # near the end a single question is as long as the rest
        if begin + whole / 4 <= event["time"] < end - whole / 6:
            found = progress_of(run.events[: place + 1], event["time"]).seconds_left
            assert found is not None
            assert left / 1.5 <= found <= 1.5 * left, (event, found, left)
            checked += 1
    assert checked > 10


MEASURED: dict[str, list[float]] = {
    "table1": [0.9, 2.3, 2.9, 1.1],
    "clinical": [
        *(0.8, 0.8, 0.7, 1.4, 0.7, 6.8, 1.7, 1.1, 1.8, 2.0, 1.1, 1.4, 1.2, 1.2, 1.6, 1.2, 1.2),
        *(2.0, 1.1),
    ],
    "fusion_decision": [1.2, 2.2, 1.2],
    "evaluation": [1.0, 1.5, 1.6, 1.6, 1.9, 1.3, 1.7],
}
"""Seconds from reply to reply in a deployment of four hospitals; one question took much longer."""


def test_the_report_is_part_of_the_time_left_of_a_run_that_writes_one() -> None:
    run = Run()
    run.events[0] |= {"phases": ["enrolment", *MEASURED], "rounds": {}, "reports": True}
    run.complete("enrolment", 100.0)
    begin = run.now
    for phase, gaps in MEASURED.items():
        run.enter(phase)
        for seconds in gaps:
            run.contact("a", seconds)
        run.emit("phase_done", after=0.0, phase=phase, seconds=sum(gaps))
    end = run.now + 6.2  # until the report was there
    whole, ratios = end - begin, []
    for part in range(25, 96):
        now = begin + part / 100 * whole
        found = progress_of([e for e in run.events if e["time"] <= now], now).seconds_left
        assert found is not None
        ratios.append(found / (end - now))
    assert sum(1 / 1.5 <= ratio <= 1.5 for ratio in ratios) >= 0.85 * len(ratios), ratios


def test_of_a_recorded_imaging_study_the_time_left_is_within_a_factor_of_one_and_a_half() -> None:
    """Six models of phantom hospitals; the first network tells how long a round takes."""
    events = read_events(RECORDED)
    begin = next(e["time"] for e in events if e.get("phase") == "table1")
    first = next(e["time"] for e in events if e["kind"] == "round")
    end = events[-1]["time"]
    checked = []
    for part in range(25, 84):
        now = begin + part / 100 * (end - begin)
        if now <= first + 2.0:  # one round, with all that is loaded for it, is no pace
            continue
        found = progress_of([e for e in events if e["time"] <= now], now).seconds_left
        left = end - now
        assert found is not None
        checked.append(found / left)
    assert len(checked) > 40
    assert all(1 / 1.6 <= ratio <= 1.6 for ratio in checked), checked
    assert sum(1 / 1.5 <= ratio <= 1.5 for ratio in checked) >= 0.95 * len(checked), checked


def test_a_question_for_which_a_hospital_was_away_is_not_taken_for_the_usual_one() -> None:
    run = Run().answer("table1", 2, 2.0).enter("clinical")
    for _ in range(6):
        run.contact("a", 2.0)
    before = run.emit("round", network="dl2d", variant="v", round=1, rounds=3, seconds=1.0).progress
    late = [{"site": "a", "seconds": 30, "why": "offline"}]
    run.emit("waiting", after=30.0, exchange="query.sum", sites=late).contact("a", 7000.0)
    assert before.seconds_left is not None
    assert run.progress.seconds_left == pytest.approx(before.seconds_left, abs=4.0)
    run.emit("waiting", exchange="query.sum", sites=[{"site": "a", "seconds": 30, "why": ""}])
    run.contact("a", 7000.0)  # it computes
    assert run.progress.seconds_left is not None
    assert run.progress.seconds_left > before.seconds_left + 7000.0


def test_a_night_between_two_starts_is_not_taken_for_the_pace() -> None:
    run = begun().answer("table1", 2, 2.0).answer("clinical", 15, 2.0).enter("dl2d")
    run.round("dl2d", "fold0", 1, 10.0)
    run.now += 40_000.0
    run.emit("resumed", **PLAN).enter("enrolment")
    before = run.progress.seconds_left
    assert before is not None
    assert before == pytest.approx(17 * 10.0 + 10 * 2.0 + FOREST_SECONDS)
    run.enter("dl2d").round("dl2d", "fold0", 2, 10.0)
    assert run.progress.seconds_left == pytest.approx(before - 10.0)


def test_a_round_that_came_twice_counts_once() -> None:
    run = begun().enter("dl2d").round("dl2d", "fold0", 1, 10.0)
    run.emit("resumed", **PLAN).enter("dl2d").round("dl2d", "fold0", 1, 10.0)
    assert run.progress.rounds_done == 1


def test_each_site_has_its_last_contact_and_bytes() -> None:
    run = begun().emit("enrolled", site="a", counts={})
    first: dict[str, Any] = {"exchange": "query.sum", "up": 10, "down": 2}
    run.emit("contact", site="a", **first).emit("contact", site="b", **first)
    run.emit("contact", site="a", **first)
    sites = run.progress.sites
    assert sites["a"] == SiteContact(enrolled=True, last_contact=run.now, bytes_up=20, bytes_down=4)
    assert sites["b"].last_contact == run.now - 1.0


def test_a_site_is_waited_for_until_it_answers() -> None:
    run = begun().emit("contact", site="a", exchange="query.sum", up=1, down=1)
    late = [{"site": name, "seconds": 30, "why": why} for name, why in (("a", "away"), ("c", ""))]
    run.emit("waiting", exchange="query.sum", sites=late)
    since = run.now - 30.0
    sites = run.progress.sites
    assert (sites["a"].waited_for_since, sites["a"].why) == (since, "away")
    assert (sites["c"].waited_for_since, sites["c"].last_contact) == (since, None)
    run.emit("contact", site="a", exchange="query.sum", up=1, down=1)
    assert run.progress.sites["a"].waited_for_since is None
    assert run.progress.sites["c"].waited_for_since == since
    run.emit("resumed", **PLAN)
    assert all(site.waited_for_since is None for site in run.progress.sites.values())


@pytest.mark.parametrize("kind", ["failed", "crashed"])
def test_a_run_that_stopped_says_why_until_it_goes_on(kind: str) -> None:
    run = begun().emit(kind, message="site b: no reply in time")
    assert (run.progress.state, run.progress.message) == ("stopped", "site b: no reply in time")
    assert run.progress.seconds_left is None
    run.emit("resumed", **PLAN)
    assert (run.progress.state, run.progress.message) == ("under way", "")
    run.emit("finished")
    assert (run.progress.state, run.progress.seconds_left) == ("finished", None)


def test_a_training_that_stopped_early_leaves_less_to_do() -> None:
    run = begun()
    run.events[0] |= {"rounds": {"dl2d": 9, "dl3d": 9}, "trainings": 3}
    run.enter("dl2d")
    for number in (1, 2):
        run.round("dl2d", "fold0", number, 10.0)
    assert run.progress.rounds_planned == 18
    run.emit("stopped_early", network="dl2d", variant="fold0", round=2, best=1)
    assert run.progress.rounds_planned == 17
    assert run.progress.rounds_done == 2


def test_who_could_not_enrol_is_told_until_the_run_goes_on() -> None:
    row = {"site": "b", "what": "refuses: rule rows", "remedy": "more patients"}
    stopped = [
        {"time": 0.0, "kind": "started", "phases": ["enrolment"], "rounds": {}},
        {"time": 1.0, "kind": "not_enrolled", "rows": [row], "note": ""},
        {"time": 2.0, "kind": "failed", "message": "site b: refuses", "exit_code": 1},
    ]
    assert list(progress_of(stopped, 3.0).obstacles) == [row]
    resumed = [*stopped, {"time": 3.0, "kind": "resumed", "phases": ["enrolment"], "rounds": {}}]
    assert list(progress_of(resumed, 4.0).obstacles) == []
    failed = {"time": 5.0, "kind": "failed", "message": "no reply in time", "exit_code": 1}
    assert list(progress_of([*resumed, failed], 6.0).obstacles) == []
