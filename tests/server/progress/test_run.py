"""Progress of a run and time left, from its events."""

from __future__ import annotations

from typing import Any

import pytest

from server.progress.run import RunProgress, SiteContact, progress_of

PLAN: dict[str, Any] = {
    "phases": ["enrolment", "table1", "clinical", "dl2d", "dl3d", "fusion_decision", "evaluation"],
    "rounds": {"dl2d": 6, "dl3d": 12},
}


class Run:
    """Events of a run, each a second or more after the one before."""

    def __init__(self, kind: str = "started") -> None:
        self.now = 1000.0
        self.events: list[dict[str, Any]] = []
        self.tell(kind, **PLAN)

    def tell(self, kind: str, after: float = 1.0, **details: Any) -> Run:
        """One event more."""
        self.now += after
        self.events.append({"time": self.now, "kind": kind, **details})
        return self

    def enter(self, phase: str) -> Run:
        """The start of a phase."""
        number = PLAN["phases"].index(phase) + 1
        return self.tell("phase", phase=phase, number=number, phases=7)

    def complete(self, phase: str, seconds: float) -> Run:
        """A whole phase."""
        self.enter(phase)
        return self.tell("phase_done", after=seconds, phase=phase, seconds=seconds)

    def round(self, network: str, variant: str, number: int, seconds: float) -> Run:
        """One round of three."""
        known: dict[str, Any] = {
            "network": network,
            "variant": variant,
            "round": number,
            "rounds": 3,
        }
        return self.tell("round", after=seconds, loss=0.5, seconds=seconds, **known)

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
    run = begun().complete("table1", 4.0).complete("clinical", 8.0).enter("dl2d")
    for number, seconds in enumerate((10.0, 12.0, 50.0), start=1):
        run.round("dl2d", "fold0", number, seconds)
    # 3 of dl2d, 12 of dl3d at the same pace, and two phases like the two that are done
    assert run.progress.seconds_left == pytest.approx(15 * 12.0 + 2 * 6.0)
    run.complete("dl2d", 100.0).enter("dl3d").round("dl3d", "fold0", 1, 40.0)
    assert run.progress.seconds_left == pytest.approx(11 * 40.0 + 2 * 6.0)


def test_a_phase_that_runs_has_its_own_time_taken_off() -> None:
    run = Run().complete("table1", 4.0).complete("clinical", 100.0)
    run.enter("dl2d").round("dl2d", "final", 1, 1.0)
    run.complete("dl2d", 9.0).complete("dl3d", 9.0).complete("fusion_decision", 100.0)
    run.enter("evaluation")
    assert run.progress.seconds_left == pytest.approx(100.0)
    run.now += 30.0
    assert run.progress.seconds_left == pytest.approx(70.0)
    run.now += 300.0
    assert run.progress.seconds_left == 0.0


def test_a_night_between_two_starts_is_not_taken_for_the_pace() -> None:
    run = begun().complete("table1", 4.0).complete("clinical", 4.0).enter("dl2d")
    run.round("dl2d", "fold0", 1, 10.0)
    run.now += 40_000.0
    run.tell("resumed", **PLAN).enter("enrolment")
    before = run.progress.seconds_left
    assert before is not None
    assert before == pytest.approx(17 * 10.0 + 2 * 4.0)
    run.enter("dl2d").round("dl2d", "fold0", 2, 10.0)
    assert run.progress.seconds_left == pytest.approx(before - 10.0)


def test_a_round_that_came_twice_counts_once() -> None:
    run = begun().enter("dl2d").round("dl2d", "fold0", 1, 10.0)
    run.tell("resumed", **PLAN).enter("dl2d").round("dl2d", "fold0", 1, 10.0)
    assert run.progress.rounds_done == 1


def test_each_site_has_its_last_contact_and_bytes() -> None:
    run = begun().tell("enrolled", site="a", counts={})
    first: dict[str, Any] = {"exchange": "query.sum", "up": 10, "down": 2}
    run.tell("contact", site="a", **first).tell("contact", site="b", **first)
    run.tell("contact", site="a", **first)
    sites = run.progress.sites
    assert sites["a"] == SiteContact(enrolled=True, last_contact=run.now, bytes_up=20, bytes_down=4)
    assert sites["b"].last_contact == run.now - 1.0


def test_a_site_is_waited_for_until_it_answers() -> None:
    run = begun().tell("contact", site="a", exchange="query.sum", up=1, down=1)
    late = [{"site": name, "seconds": 30, "why": why} for name, why in (("a", "away"), ("c", ""))]
    run.tell("waiting", exchange="query.sum", sites=late)
    since = run.now - 30.0
    sites = run.progress.sites
    assert (sites["a"].waited_for_since, sites["a"].why) == (since, "away")
    assert (sites["c"].waited_for_since, sites["c"].last_contact) == (since, None)
    run.tell("contact", site="a", exchange="query.sum", up=1, down=1)
    assert run.progress.sites["a"].waited_for_since is None
    assert run.progress.sites["c"].waited_for_since == since
    run.tell("resumed", **PLAN)
    assert all(site.waited_for_since is None for site in run.progress.sites.values())


@pytest.mark.parametrize("kind", ["failed", "crashed"])
def test_a_run_that_stopped_says_why_until_it_goes_on(kind: str) -> None:
    run = begun().tell(kind, message="site b: no reply in time")
    assert (run.progress.state, run.progress.message) == ("stopped", "site b: no reply in time")
    assert run.progress.seconds_left is None
    run.tell("resumed", **PLAN)
    assert (run.progress.state, run.progress.message) == ("under way", "")
    run.tell("finished")
    assert (run.progress.state, run.progress.seconds_left) == ("finished", None)


def test_a_training_that_stopped_early_leaves_less_to_do() -> None:
    run = begun()
    run.events[0] |= {"rounds": {"dl2d": 9, "dl3d": 9}, "trainings": 3}
    run.enter("dl2d")
    for number in (1, 2):
        run.round("dl2d", "fold0", number, 10.0)
    assert run.progress.rounds_planned == 18
    run.tell("stopped_early", network="dl2d", variant="fold0", round=2, best=1)
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
