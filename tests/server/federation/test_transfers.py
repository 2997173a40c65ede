from __future__ import annotations

from server.federation.transfers import TransferLog


def filled() -> TransferLog:
    log = TransferLog(phase="clinical")
    log.begin("query.sum")
    log.add("a", "query.sum", up=100, down=10)
    log.add("b", "query.sum", up=200, down=10)
    log.begin("query.sum")
    log.add("b", "query.sum", up=50, down=5)
    return log


def test_rounds_are_those_of_the_phase_and_messages_those_of_the_site() -> None:
    a, b = filled().table()
    assert (a["rounds"], a["messages"], a["bytes_up"]) == (2, 1, 100)
    assert (b["rounds"], b["messages"], b["bytes_up"], b["bytes_down"]) == (2, 2, 250, 15)


def test_an_interrupted_run_goes_on_counting() -> None:
    again = TransferLog(phase="clinical")
    again.restore(filled().table())
    again.begin("query.sum")
    again.add("a", "query.sum", up=1, down=1)
    rows = {row["site"]: row for row in again.table()}
    assert rows["a"]["rounds"] == rows["b"]["rounds"] == 3
    assert rows["a"]["messages"] == 2


def test_a_phase_that_is_asked_anew_counts_once_and_keeps_its_place() -> None:
    before = filled()
    before.phase = "evaluation"
    before.begin("evaluate.handout")
    before.add("a", "evaluate.handout", up=5, down=6)
    again = TransferLog(phase="clinical")
    again.restore(before.table(), anew="clinical")
    again.begin("query.sum")
    again.add("a", "query.sum", up=1, down=2)
    again.add("b", "query.sum", up=3, down=4)
    rows = again.table()
    assert [row["phase"] for row in rows] == ["clinical", "clinical", "evaluation"]
    assert [(row["rounds"], row["messages"], row["bytes_up"]) for row in rows] == [
        (1, 1, 1),
        (1, 1, 3),
        (1, 1, 5),
    ]
