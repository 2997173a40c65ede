"""Batches are drawn evenly, and from the seed alone."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch

from client.training.batches import Crops, Draw, batches_an_epoch, evaluation_draws, training_draws
from common.study.networks import NetworkSettings


def settings(**changes: Any) -> NetworkSettings:
    return NetworkSettings.model_validate({"input_size": 16, "batch_size": 4} | changes)


def crops_of(labels: list[int], size: int = 18, axes: int = 2) -> Crops:
    n = len(labels)
    images = np.zeros((n, *(size,) * axes), dtype=np.float32)
    return Crops(images, np.arange(n), np.array(labels, dtype=np.float32))


def an_epoch(crops: Crops, config: NetworkSettings, seed: int = 3) -> list[Draw]:
    draws = training_draws(crops, config, torch.Generator().manual_seed(seed))
    return list(islice(draws, batches_an_epoch(len(crops.images), config.batch_size)))


@pytest.mark.parametrize(("n", "size", "batches"), [(8, 4, 2), (9, 4, 2), (10, 4, 3), (2, 64, 1)])
def test_a_last_batch_of_one_is_no_batch(n: int, size: int, batches: int) -> None:
    assert batches_an_epoch(n, size) == batches
    epoch = an_epoch(crops_of([0] * n), settings(batch_size=size))
    assert all(len(draw.chosen) > 1 for draw in epoch)
    assert sum(len(draw.chosen) for draw in epoch) >= n - 1


def test_shuffled_crops_come_once_a_pass_and_in_another_order_each_time() -> None:
    crops = crops_of([0, 1] * 6)
    draws = training_draws(crops, settings(), torch.Generator().manual_seed(1))
    first, second = (
        np.concatenate([draw.chosen for draw in islice(draws, 3)]).tolist() for _ in range(2)
    )
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second


@pytest.mark.parametrize("positives", [2, 5, 13])
def test_balanced_sampling_draws_both_classes_evenly(positives: int) -> None:
    crops = crops_of([1] * positives + [0] * (20 - positives))
    epoch = an_epoch(crops, settings(sampling="balanced"))
    for draw in epoch:
        assert crops.label[draw.chosen].sum() == 2, "half of every batch of four"
    drawn = np.bincount(np.concatenate([draw.chosen for draw in epoch]), minlength=20)
    for members in (drawn[:positives], drawn[positives:]):
        assert members.sum() == 10
        assert members.max() - members.min() <= 1, "each of a class as often as the others"


def test_balanced_sampling_of_an_odd_number_leaves_one_over() -> None:
    counts = set()
    for seed in range(8):
        epoch = an_epoch(crops_of([1] * 3 + [0] * 8), settings(sampling="balanced"), seed)
        counts.add(
            sum(int(draw.chosen[0] < 3) + int((draw.chosen[1:] < 3).sum()) for draw in epoch)
        )
    assert counts == {5, 6}


def test_a_site_of_one_class_is_shuffled() -> None:
    epoch = an_epoch(crops_of([0] * 8), settings(sampling="balanced"))
    assert sorted(np.concatenate([draw.chosen for draw in epoch]).tolist()) == list(range(8))


def test_parts_and_flips_cover_all_there_are_and_follow_the_seed() -> None:
    crops = crops_of([0, 1] * 40, axes=3)
    epoch = an_epoch(crops, settings())
    starts = np.concatenate([draw.starts for draw in epoch])
    flips = np.concatenate([draw.flips for draw in epoch])
    assert set(np.unique(starts)) == {0, 1, 2}
    assert starts.shape == flips.shape == (80, 3)
    assert (abs(flips.mean(axis=0) - 0.5) < 0.2).all()
    again, other = an_epoch(crops, settings()), an_epoch(crops, settings(), seed=4)
    assert all(np.array_equal(a.starts, b.starts) for a, b in zip(epoch, again, strict=True))
    assert not all(np.array_equal(a.starts, b.starts) for a, b in zip(epoch, other, strict=True))


def test_without_augmentation_and_in_evaluation_it_is_the_centre() -> None:
    crops = crops_of([0, 1, 0, 1, 1])
    draws = [*an_epoch(crops, settings(augment=False)), *evaluation_draws(crops, settings())]
    assert all((draw.starts == 1).all() and not draw.flips.any() for draw in draws)
    looked_at = [draw.chosen.tolist() for draw in evaluation_draws(crops, settings())]
    assert looked_at == [[0, 1, 2, 3], [4]]
