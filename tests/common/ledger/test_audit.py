"""The audit: a coordinator that shows different things to different sites is found."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from common.ledger.audit import audit
from common.ledger.entry import Entry, Item

SITES = ("a", "b", "c")


def entry(number: int, subset: str = "train", **changes: Any) -> Entry:
    """Entry of exchange `number`; `what`, `request` and `participants` go to its item."""
    item = Item(
        what=changes.pop("what", "Means: clinical"),
        subset=subset,
        request=changes.pop("request", f"{number:064x}"),
        shapes={"sum": (3,)},
        participants=changes.pop("participants", SITES),
    )
    whole = Entry(
        run="r1",
        study="c" * 64,
        exchange="query.sum",
        exchange_id=str(number),
        roster="d" * 64,
        items=(item,),
        decision="released",
        number=number,
        time="t",
        previous="",
        hash="",
        signature="",
    )
    return dataclasses.replace(whole, **changes)


def honest() -> dict[str, list[Entry]]:
    return {site: [entry(number) for number in range(1, 6)] for site in SITES}


def kinds(ledgers: dict[str, list[Entry]]) -> list[tuple[str, tuple[str, ...], str]]:
    return [(f.kind, f.sites, f.exchange) for f in audit(ledgers)]


def test_honest_ledgers_agree() -> None:
    assert audit(honest()) == []
    assert audit({}) == []


def test_a_subset_that_only_some_sites_have_is_no_finding() -> None:
    ledgers = honest()
    ledgers["c"].append(entry(6, subset="external", participants=()))
    assert audit(ledgers) == []


def test_another_request_at_one_site_is_found() -> None:
    ledgers = honest()
    ledgers["b"][2] = entry(3, request="f" * 64)
    assert kinds(ledgers) == [("request", SITES, "3")]


def test_another_request_to_a_site_that_refused_it_is_found() -> None:
    ledgers = honest()
    ledgers["b"][2] = entry(3, request="f" * 64, decision="refused", reason="rows")
    assert kinds(ledgers) == [("request", SITES, "3")]


@pytest.mark.parametrize("field", ["study", "roster"])
def test_another_study_or_roster_at_one_site_is_found(field: str) -> None:
    ledgers = honest()
    ledgers["b"] = [dataclasses.replace(e, **{field: "f" * 64}) for e in ledgers["b"]]
    assert {kind for kind, _, _ in kinds(ledgers)} >= {field}
    assert sum(kind == field for kind, _, _ in kinds(ledgers)) == 5


def test_a_release_missing_at_one_site_is_found_once_however_long_the_gap() -> None:
    ledgers = honest()
    del ledgers["c"][2:]
    (finding,) = audit(ledgers)
    assert (finding.kind, finding.sites, finding.exchange) == ("missing", ("c",), "3")
    assert "2 more exchanges" in str(finding)


def test_an_emptied_or_absent_ledger_is_found_by_those_it_was_masked_with() -> None:
    ledgers = honest()
    ledgers["c"] = []
    assert kinds(ledgers) == [("missing", ("c",), "1")]
    del ledgers["c"]
    assert kinds(ledgers) == [("missing", ("c",), "1")]


def test_a_missing_release_that_was_not_masked_is_found() -> None:
    ledgers = {site: [entry(n, participants=()) for n in range(1, 4)] for site in SITES}
    del ledgers["b"][1]
    assert kinds(ledgers) == [("missing", ("b",), "2")]


def test_an_interrupted_sum_that_all_sites_were_asked_again_is_no_finding() -> None:
    ledgers = honest()
    for site in SITES:
        again = entry(6, exchange_id="resumed/5", request=f"{5:064x}")
        ledgers[site].append(again)
    del ledgers["c"][4]
    assert audit(ledgers) == []


def test_a_sum_that_was_asked_again_in_another_run_or_roster_or_unmasked_is_still_missing() -> None:
    changes: list[dict[str, Any]] = [{"run": "r2"}, {"roster": "e" * 64}]
    for change in changes:
        ledgers = honest()
        for site in SITES:
            ledgers[site].append(entry(6, request=f"{5:064x}", **change))
        del ledgers["c"][4]
        assert ("missing", ("c",), "5") in kinds(ledgers)
    ledgers = {site: [entry(n, participants=()) for n in range(1, 4)] for site in SITES}
    for site in SITES:
        ledgers[site].append(entry(4, participants=(), request=f"{3:064x}"))
    del ledgers["c"][2]
    assert kinds(ledgers) == [("missing", ("c",), "3")]


def test_a_refusal_is_an_answer() -> None:
    ledgers = honest()
    ledgers["c"][4] = entry(5, decision="refused", reason="rows")
    assert audit(ledgers) == []


def stopped(number: int, **changes: Any) -> Entry:
    """A problem that came up before it was known what the exchange was about."""
    nothing = {"items": (), "study": "", "roster": "", "reason": "problem"}
    return dataclasses.replace(entry(number, decision="stopped"), **{**nothing, **changes})


def test_a_problem_is_no_silence() -> None:
    ledgers = honest()
    ledgers["c"][3:] = [stopped(4), stopped(5, study="c" * 64)]
    (finding,) = audit(ledgers)
    assert (finding.kind, finding.sites, finding.exchange) == ("stopped", ("c",), "4")
    assert "stopped this and 1 more exchanges in which others released of train" in str(finding)
    assert "never answered" not in str(finding)


def test_a_problem_with_what_was_asked_is_an_answer() -> None:
    ledgers = honest()
    ledgers["c"][4] = entry(5, decision="stopped", reason="problem")
    assert audit(ledgers) == []


def test_another_request_to_a_site_that_stopped_it_is_found() -> None:
    ledgers = honest()
    ledgers["b"][2] = entry(3, request="f" * 64, decision="stopped", reason="problem")
    (finding,) = audit(ledgers)
    assert (finding.kind, finding.sites, finding.exchange) == ("request", SITES, "3")
    assert "(b did not answer)" in str(finding)


def test_a_problem_after_which_all_were_asked_again_is_no_finding() -> None:
    ledgers = honest()
    for site in SITES:
        ledgers[site].append(entry(6, exchange_id="resumed/5", request=f"{5:064x}"))
    ledgers["c"][4] = stopped(5)
    assert audit(ledgers) == []


def test_a_problem_that_does_not_say_in_which_exchange_is_left_out() -> None:
    ledgers = honest()
    ledgers["c"].append(stopped(6, exchange_id=""))
    assert audit(ledgers) == []


@pytest.mark.parametrize("decision", ["refused", "stopped"])
def test_questions_that_one_site_alone_was_asked_and_refused_are_found(decision: str) -> None:
    """Its refusals could tell, one by one, what no single answer would."""
    ledgers = honest()
    for number in range(6, 11):
        asked = entry(number, decision=decision, reason="support", request=f"{number:064x}")
        ledgers["a"].append(dataclasses.replace(asked, exchange_id=f"s/{number}"))
    (finding,) = audit(ledgers)
    assert (finding.kind, finding.sites, finding.others) == ("alone", ("a",), ("b", "c"))
    assert finding.exchange == "s/6"
    assert "refused or stopped this and 4 more exchanges about train that b and c never had" in str(
        finding
    )


def test_messages_that_one_site_alone_stopped_unread_are_found() -> None:
    ledgers = honest()
    ledgers["a"] += [stopped(6), stopped(7)]
    (finding,) = audit(ledgers)
    assert (finding.kind, finding.sites, finding.others) == ("alone", ("a",), ("b", "c"))
    assert "stopped this and 1 more exchanges that b and c never had" in str(finding)


def test_a_question_that_all_refused_or_that_all_were_asked_again_is_no_finding() -> None:
    ledgers = honest()
    for site in SITES:
        ledgers[site].append(entry(6, decision="refused", reason="rows"))
    clear: dict[str, Any] = {"what": "rows", "participants": ()}
    ledgers["a"].append(entry(7, decision="refused", reason="rows", **clear))
    for site in SITES:
        again = entry(8, exchange_id="resumed/7", request=f"{7:064x}", **clear)
        ledgers[site].append(again)
    assert audit(ledgers) == []


def test_a_refusal_about_a_subset_of_one_site_is_no_finding() -> None:
    ledgers = honest()
    alone = {"subset": "external", "participants": ()}
    ledgers["c"].append(entry(6, decision="refused", reason="rows", **alone))
    assert audit(ledgers) == []


def test_a_ledger_that_is_not_here_is_not_missed_anew_at_every_refusal() -> None:
    ledgers = honest()
    for site in ("a", "b"):
        ledgers[site].append(entry(6, decision="refused", reason="rows"))
    del ledgers["c"]
    assert [f.kind for f in audit(ledgers)] == ["missing"]


def test_a_run_that_only_one_site_was_asked_anything_in_is_found() -> None:
    """In the clear nothing names the other sites; they show in the study's other runs."""
    ledgers = honest()
    clear: dict[str, Any] = {"exchange_id": "", "participants": ()}
    enrolled = {**clear, "exchange": "query.enrol", "what": "enrolment"}
    rows = {**clear, "exchange": "query.rows", "what": "out-of-fold rows"}
    for site in SITES:
        ledgers[site].append(entry(1, request="b" * 64, **enrolled))
    ledgers["a"] += [entry(1, run="r2", **enrolled), entry(2, run="r2", **rows)]
    found = audit(ledgers)
    assert [(f.kind, f.sites, f.run, f.exchange) for f in found] == [
        ("missing", ("b",), "r2", "query.rows"),
        ("missing", ("c",), "r2", "query.rows"),
    ]


def test_a_run_that_is_still_waiting_for_a_site_is_no_finding() -> None:
    ledgers = honest()
    enrolment: dict[str, Any] = {"exchange": "query.enrol", "exchange_id": "", "run": "r2"}
    for site in ("a", "b"):
        ledgers[site].append(entry(6, what="enrolment", participants=(), **enrolment))
    ledgers["c"].append(stopped(6, **enrolment))
    assert audit(ledgers) == []


def test_the_same_statistic_with_and_without_a_site_is_found() -> None:
    ledgers = honest()
    for site in ("a", "b"):
        without = entry(6, participants=("a", "b"), roster="e" * 64)
        ledgers[site].append(without)
    (finding,) = audit(ledgers)
    assert (finding.kind, finding.sites, finding.exchange) == ("participants", SITES, "6")
    assert "among a, b, and in run r1, exchange 1, among a, b, c" in finding.words


def test_as_many_but_other_participants_in_a_later_run_are_found() -> None:
    ledgers = honest()
    for site in ("a", "b", "d"):
        later = entry(1, participants=("a", "b", "d"), run="r2", roster="e" * 64)
        ledgers.setdefault(site, []).append(later)
    assert [f.kind for f in audit(ledgers)] == ["participants"]


def test_another_study_may_ask_among_other_sites() -> None:
    ledgers = honest()
    for site in ("a", "b"):
        changes = {"run": "r2", "roster": "e" * 64, "study": "0" * 64}
        ledgers[site].append(entry(1, participants=("a", "b"), **changes))
    assert audit(ledgers) == []


def test_a_repair_of_the_ledger_concerns_nobody_else() -> None:
    ledgers = honest()
    ledgers["a"].append(entry(6, decision="repaired", reason="torn_line"))
    assert audit(ledgers) == []


def test_what_a_site_did_outside_a_run_concerns_nobody_else() -> None:
    ledgers = honest()
    stopped = {"run": "", "exchange_id": "", "decision": "stopped", "reason": "study_unknown"}
    for site, study in (("a", ""), ("b", "c" * 64)):
        ledgers[site].append(dataclasses.replace(entry(6), items=(), study=study, **stopped))
    assert audit(ledgers) == []


def opening(number: int, without: str = "") -> Entry:
    """A sum of one step that was opened; number = of the exchange."""
    what = f"sum opened: weights dl3d/fold0/3{without and f' without {without}'}"
    return entry(number, what=what, participants=(), exchange="query.open")


def test_one_set_a_step_is_no_finding() -> None:
    ledgers = honest()
    for site in ("a", "b"):
        ledgers[site].append(opening(6, without="c"))
    assert audit(ledgers) == []


def test_two_sums_of_one_step_over_different_sites_are_found() -> None:
    ledgers = honest()
    for site, numbers in {"a": (6, 7), "b": (6,), "c": (7,)}.items():
        ledgers[site] += [opening(n, without={6: "c", 7: "b"}[n]) for n in numbers]
    (found,) = audit(ledgers)
    assert (found.kind, found.sites) == ("opened", SITES)
    assert "different sums of dl3d/fold0/3: without c and without b" in str(found)
