"""Composition of batches and cuts of crops: drawn from one generator, in one order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from client.training.outcomes import Outcomes
from common.study.networks import NetworkSettings

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


Patch = NDArray[np.float32]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Crops:
    """Image crops of one site's patients.

    Parameters
    ----------
    images : n crops, float32 (S, S, S), one per patient (3D), or (S, S), several per patient (2D);
        the CT window scaled to [0, 1]. They may be memory-mapped and are read batch by batch.
    patient : int64 (n,), index of the patient a crop belongs to.
    label : float32 (n,), 1.0 for the positive class, of the crop's patient.
    period : int64 (n,), in which that patient's follow-up ended, where the endpoint has a time.
    """

    images: Sequence[Patch] | Patch
    patient: Indices
    label: NDArray[np.float32]
    period: Indices | None = None

    def outcomes(self, chosen: Indices | slice = slice(None)) -> Outcomes:
        """Return the outcomes of these crops, of all by default."""
        return Outcomes(self.label, self.period).part(chosen)

    def room(self, size: int) -> int:
        """Return the voxels along each axis by which a crop is longer than `size`.

        Raises
        ------
        ValueError : crops smaller than that.
        """
        side = int(self.images[0].shape[-1])
        if side < size:
            raise ValueError(f"crops of {side} are smaller than the input size {size}")
        return side - size


@dataclass(frozen=True)
class Draw:
    """One batch of b crops.

    Parameters
    ----------
    chosen : int64 (b,), indices of the crops.
    starts : int64 (b, axes), the corner of the part cut out of each.
    flips : bool (b, axes), the flipped axes.
    """

    chosen: Indices
    starts: Indices
    flips: NDArray[np.bool_]


def batches_an_epoch(crops: int, size: int) -> int:
    """Return the batches of one pass over the crops; a last one of a single crop is left out."""
    return crops // size + (crops % size > 1)


def training_draws(
    crops: Crops, settings: NetworkSettings, generator: torch.Generator
) -> Iterator[Draw]:
    """Yield batches for training, pass after pass, without end.

    A last batch of one crop is left out (BatchNorm needs two). With augmentation each axis of a
    crop is flipped with probability a half, and a random part of it is cut (paper, "Data
    enhancement strategies"); without, the centre is.
    """
    room = crops.room(settings.input_size)
    axes = crops.images[0].ndim
    order_of = _ORDERS[settings.sampling]
    while True:
        order = order_of(crops.label, generator)
        for start in range(0, len(order), settings.batch_size):
            chosen = order[start : start + settings.batch_size]
            if len(chosen) < 2:
                continue
            if settings.augment:
                flips = torch.rand((len(chosen), axes), generator=generator) < 0.5
                starts = torch.randint(0, room + 1, (len(chosen), axes), generator=generator)
                yield Draw(chosen, starts.numpy(), flips.numpy())
            else:
                yield centred(chosen, room, axes)


def evaluation_draws(crops: Crops, settings: NetworkSettings) -> Iterator[Draw]:
    """Yield every crop once, in order, cut at its centre."""
    room = crops.room(settings.input_size)
    everything = np.arange(len(crops.images))
    for start in range(0, len(everything), settings.batch_size):
        chosen = everything[start : start + settings.batch_size]
        yield centred(chosen, room, crops.images[0].ndim)


def centred(chosen: Indices, room: int, axes: int) -> Draw:
    """Return a draw that takes the middle of each crop, unflipped."""
    shape = (len(chosen), axes)
    return Draw(chosen, np.full(shape, room // 2), np.zeros(shape, dtype=np.bool_))


def _shuffled(label: NDArray[np.float32], generator: torch.Generator) -> Indices:
    return _permutation(len(label), generator)


def _balanced(label: NDArray[np.float32], generator: torch.Generator) -> Indices:
    """Draw as many crops as there are, the classes in turn, with a random first class.

    Each class is traversed in random order, repeatedly where it is the smaller one. Of a site with
    one class only, the draws are shuffled.
    """
    classes = [np.flatnonzero(label == value) for value in (0.0, 1.0)]
    if not all(len(members) for members in classes):
        return _shuffled(label, generator)
    first = int(torch.randint(0, 2, (1,), generator=generator))
    order = np.empty(len(label), dtype=np.int64)
    for turn in (0, 1):
        members = classes[(first + turn) % 2]
        wanted = len(order[turn::2])
        passes = [_permutation(len(members), generator) for _ in range(-(-wanted // len(members)))]
        order[turn::2] = members[np.concatenate(passes)[:wanted]]
    return order


def _permutation(n: int, generator: torch.Generator) -> Indices:
    order: Indices = torch.randperm(n, generator=generator).numpy()
    return order


_ORDERS: dict[str, Callable[[NDArray[np.float32], torch.Generator], Indices]] = {
    "shuffled": _shuffled,
    "balanced": _balanced,
}
