"""Cut batches from the crops ahead of the network's need, so that it never waits for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from client.training.batches import Crops, Draw

Item = TypeVar("Item")
Result = TypeVar("Result")


def load(
    crops: Crops, draws: Iterable[Draw], size: int, threads: int
) -> Iterator[tuple[Draw, NDArray[np.float32]]]:
    """Yield each draw with its crops, float32 (b, size, ...), in the order of the draws.

    Parameters
    ----------
    threads : number that read and cut ahead; 0 = none. The result is the same: all random numbers
        are in the draws.
    """
    return ahead(partial(_with_crops, crops, size), draws, threads)


def cut(crops: Crops, draw: Draw, size: int) -> NDArray[np.float32]:
    """Cut the drawn parts of the drawn crops, float32 (b, size, ...)."""
    axes = draw.starts.shape[1]
    batch = np.empty((len(draw.chosen), *(size,) * axes), dtype=np.float32)
    for row, index in enumerate(draw.chosen):
        part = crops.images[index][tuple(slice(begin, begin + size) for begin in draw.starts[row])]
        batch[row] = part[tuple(slice(None, None, -1 if turn else 1) for turn in draw.flips[row])]
    return batch


def ahead(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Generator[Result, None, None]:
    """Run `map(function, items)` in threads, as many results ahead as there are threads.

    The calling thread takes the items themselves in order.
    """
    if threads == 0:
        yield from map(function, items)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _with_crops(crops: Crops, size: int, draw: Draw) -> tuple[Draw, NDArray[np.float32]]:
    return draw, cut(crops, draw, size)
