"""Events are lines of JSON, whatever killed who wrote the line before."""

from __future__ import annotations

from pathlib import Path

from server.progress.events import Events, EventTail, read_events


def test_every_event_has_its_time_and_kind(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events = Events(path)
    events.emit("phase", phase="clinical")
    events.emit("finished")
    found = list(read_events(path))
    assert [event["kind"] for event in found] == ["phase", "finished"]
    assert all(event["time"] > 1_700_000_000 for event in found)


def test_a_torn_line_is_passed_over_and_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    Events(path).emit("phase", phase="clinical")
    with path.open("a") as file:
        file.write('{"time": 1.0, "ki')
    assert [event["kind"] for event in read_events(path)] == ["phase"]
    Events(path).emit("resumed")
    assert [event["kind"] for event in read_events(path)] == ["phase", "resumed"]


def test_reading_can_begin_where_it_left_off(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events = Events(path)
    events.emit("phase", phase="clinical")
    size = path.stat().st_size
    events.emit("finished")
    assert [event["kind"] for event in read_events(path, size)] == ["finished"]


def test_a_run_that_has_not_begun_has_no_events(tmp_path: Path) -> None:
    assert list(read_events(tmp_path / "events.jsonl")) == []
    Events(tmp_path / "events.jsonl")
    assert not list(tmp_path.iterdir())


def test_half_a_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    tail = EventTail(path)
    assert tail.events() == []
    Events(path).emit("started")
    with path.open("a", encoding="utf-8") as file:
        file.write('{"time": 1, "kind": "fini')
        file.flush()
        assert [event["kind"] for event in tail.new()] == ["started"]
        file.write('shed"}\n')
    assert [event["kind"] for event in tail.new()] == ["finished"]
    assert [event["kind"] for event in tail.events()] == ["started", "finished"]
    path.write_text("", encoding="utf-8")
    assert tail.events() == []
