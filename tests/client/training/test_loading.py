"""Crops are cut as drawn, in order, whoever cuts them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from client.training.batches import Crops, Draw, ahead, cut, load


def test_a_part_is_cut_and_turned_as_it_was_drawn() -> None:
    images = np.arange(2 * 4 * 4, dtype=np.float32).reshape(2, 4, 4)
    crops = Crops(images, np.arange(2), np.zeros(2, dtype=np.float32))
    draw = Draw(
        np.array([1, 0]), np.array([[1, 0], [0, 2]]), np.array([[True, False], [False, True]])
    )
    batch = cut(crops, draw, 2)
    np.testing.assert_array_equal(batch[0], images[1, 1:3, 0:2][::-1])
    np.testing.assert_array_equal(batch[1], images[0, 0:2, 2:4][:, ::-1])
    assert batch.dtype == np.float32
    assert batch.flags.c_contiguous


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_batches_come_in_order_with_the_draw_they_belong_to(threads: int) -> None:
    images = np.arange(6, dtype=np.float32).reshape(6, 1, 1)
    crops = Crops(images, np.arange(6), np.zeros(6, dtype=np.float32))
    still, corner = np.zeros((2, 2), dtype=bool), np.zeros((2, 2), dtype=np.int64)
    draws = [Draw(np.array(pair), corner, still) for pair in ([0, 5], [1, 4], [2, 3])]
    for draw, batch in load(crops, draws, 1, threads):
        assert batch[:, 0, 0].tolist() == draw.chosen.tolist()


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_results_keep_the_order_of_the_items(threads: int) -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.02 if item == 0 else 0.0)
        return item * item

    assert list(ahead(slow_first, range(9), threads)) == [i * i for i in range(9)]


def test_no_more_is_taken_than_the_threads_are_ahead() -> None:
    taken: list[int] = []

    def items() -> Iterator[Any]:
        for item in range(100):
            taken.append(item)
            yield item

    results = ahead(lambda item: item, items(), 2)
    assert next(results) == 0
    assert len(taken) == 3
    results.close()
    assert len(taken) == 3


def test_items_are_taken_by_the_caller_and_computed_by_others() -> None:
    here = threading.get_ident()
    drawn: list[int] = []

    def items() -> Iterator[Any]:
        for _ in range(3):
            drawn.append(threading.get_ident())
            yield None

    found = list(ahead(lambda _: threading.get_ident(), items(), 1))
    assert set(drawn) == {here}
    assert here not in found


def test_an_error_in_a_thread_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        list(ahead(lambda item: 1 // item, [1, 0, 1], 2))
