"""Parts of a large message, handed over a few at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from flwr.supercore.inflatable import inflatable_utils

from common.flower.pushes import push_few_at_once, push_in_turn

PARTS = {f"part {number}": bytes([number]) for number in range(9)}


def test_every_part_is_pushed_once() -> None:
    pushed: list[tuple[str, bytes]] = []
    push_in_turn(PARTS.items(), lambda name, content: pushed.append((name, content)))
    assert sorted(pushed) == sorted(PARTS.items())


def test_a_part_is_laid_out_when_there_is_room_for_it() -> None:
    lock, held, most = threading.Lock(), 0, 0

    def laid_out() -> Iterator[tuple[str, bytes]]:
        nonlocal held, most
        for part in PARTS.items():
            with lock:
                held += 1
                most = max(most, held)
            yield part

    def push(name: str, content: bytes) -> None:
        nonlocal held
        with lock:
            held -= 1

    push_in_turn(laid_out(), push, max_concurrent_pushes=2)
    assert held == 0
    assert most <= 2


def test_a_part_that_is_not_taken_ends_the_push() -> None:
    tried: list[str] = []

    def refuse(name: str, content: bytes) -> None:
        tried.append(name)
        raise OSError(name)

    with pytest.raises(OSError, match="part"):
        push_in_turn(PARTS.items(), refuse, max_concurrent_pushes=2)
    assert len(tried) <= 2


def test_flower_pushes_in_this_way(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "push_object_contents_from_iterable"
    monkeypatch.setattr(inflatable_utils, name, getattr(inflatable_utils, name))
    push_few_at_once()
    assert getattr(inflatable_utils, name) is push_in_turn
