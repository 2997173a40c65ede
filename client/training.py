"""Local training of a network and its use: pure functions of weights, crops and a seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits

from common.networks.resnet import Kind, ScoringNetwork, prepare
from common.study import NetworkSettings

# Channels last is the faster layout for convolutions on CPUs; it changes no value of a weight.
_MEMORY: dict[Kind, torch.memory_format] = {
    "dl2d": torch.channels_last,
    "dl3d": torch.channels_last_3d,
}


@dataclass(frozen=True)
class Crops:
    """Image crops of one site's patients.

    Parameters
    ----------
    images : float32 (n, S, S, S), one a patient (3D), or (n, S, S), several a patient (2D); the CT
        window scaled to [0, 1].
    patient : int64 (n,), index of the patient a crop belongs to.
    label : float32 (n,), 1.0 for the positive class, of the crop's patient.
    """

    images: NDArray[np.float32]
    patient: NDArray[np.int64]
    label: NDArray[np.float32]


@dataclass(frozen=True)
class LocalResult:
    """Crops seen in the last epoch and the sum of their losses while training."""

    samples: int
    loss_sum: float


def train_epochs(
    model: ScoringNetwork,
    kind: Kind,
    crops: Crops,
    *,
    settings: NetworkSettings,
    learning_rate: float,
    epochs: int,
    seed: int,
) -> LocalResult:
    """Train `model` in place on one site's crops.

    The optimiser is made afresh, so nothing but the weights goes from round to round, and every
    random number comes from `seed`: the result does not depend on what ran before. A last batch of
    one crop is dropped (BatchNorm needs two).

    Raises
    ------
    ValueError : fewer than two crops, or crops smaller than `settings.input_size`.
    """
    if len(crops.images) < 2:
        raise ValueError(f"training needs at least 2 crops, there are {len(crops.images)}")
    generator = torch.Generator().manual_seed(seed)
    optimiser = _optimiser(model, settings, learning_rate)
    result = LocalResult(samples=0, loss_sum=0.0)
    for _ in range(epochs):
        result = _one_epoch(model, kind, crops, settings, optimiser, generator)
    return result


def infer(
    model: ScoringNetwork, kind: Kind, crops: Crops, settings: NetworkSettings, patients: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Features (patients, width) and probability (patients,): means over a patient's crops.

    Raises
    ------
    ValueError : a patient without a crop.
    """
    counts = np.bincount(crops.patient, minlength=patients).astype(np.float64)
    if len(counts) != patients or not counts.all():
        raise ValueError(f"{patients} patients expected, each with at least one crop")
    features, logits = _evaluate(model, kind, crops.images, settings)
    feature_sum = np.zeros((patients, model.width), dtype=np.float64)
    probability_sum = np.zeros(patients, dtype=np.float64)
    np.add.at(feature_sum, crops.patient, features)
    np.add.at(probability_sum, crops.patient, _sigmoid(logits))
    return (feature_sum / counts[:, None]).astype(np.float32), probability_sum / counts


def loss_of(
    model: ScoringNetwork, kind: Kind, crops: Crops, settings: NetworkSettings
) -> tuple[float, int]:
    """Sum of the crops' losses in evaluation mode, and how many crops there are."""
    if not len(crops.images):
        return 0.0, 0
    _, logits = _evaluate(model, kind, crops.images, settings)
    losses = np.logaddexp(0.0, logits) - crops.label * logits
    return float(losses.sum()), len(losses)


def _optimiser(
    model: ScoringNetwork, settings: NetworkSettings, learning_rate: float
) -> torch.optim.Optimizer:
    if settings.optimiser == "sgd":
        return torch.optim.SGD(
            model.parameters(),
            lr=learning_rate,
            momentum=0.9,
            weight_decay=settings.weight_decay,
        )
    return torch.optim.Adam(
        model.parameters(), lr=learning_rate, weight_decay=settings.weight_decay, fused=True
    )


def _one_epoch(
    model: ScoringNetwork,
    kind: Kind,
    crops: Crops,
    settings: NetworkSettings,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
) -> LocalResult:
    model.train()
    model.to(memory_format=_MEMORY[kind])  # type: ignore[call-overload]
    samples, loss_sum = 0, 0.0
    for chosen in _batches(len(crops.images), settings.batch_size, generator):
        images = torch.from_numpy(crops.images[chosen])
        label = torch.from_numpy(crops.label[chosen])
        images = (
            _augmented(images, settings.input_size, generator)
            if settings.augment
            else _centre(images, settings.input_size)
        )
        images = prepare(kind, images).contiguous(memory_format=_MEMORY[kind])
        _, logits = model(images)
        loss = binary_cross_entropy_with_logits(logits, label)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if settings.gradient_clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip)
        optimiser.step()
        samples += len(chosen)
        loss_sum += float(loss.detach()) * len(chosen)
    return LocalResult(samples=samples, loss_sum=loss_sum)


def _batches(n: int, size: int, generator: torch.Generator) -> Iterator[NDArray[np.int64]]:
    order = torch.randperm(n, generator=generator).numpy()
    for start in range(0, n, size):
        batch = order[start : start + size]
        if len(batch) > 1:
            yield batch


def _augmented(images: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
    """Flip every crop on each axis with probability a half and cut a random part of `size`."""
    room = _room(images, size)
    axes = images.ndim - 1
    flips = torch.rand((len(images), axes), generator=generator) < 0.5
    starts = torch.randint(0, room + 1, (len(images), axes), generator=generator)
    parts = []
    for image, flip, start in zip(images, flips.tolist(), starts.tolist(), strict=True):
        part = image[tuple(slice(begin, begin + size) for begin in start)]
        parts.append(part.flip([axis for axis, turn in enumerate(flip) if turn]))
    return torch.stack(parts)


def _centre(images: torch.Tensor, size: int) -> torch.Tensor:
    start = _room(images, size) // 2
    return images[(slice(None), *([slice(start, start + size)] * (images.ndim - 1)))]


def _room(images: torch.Tensor, size: int) -> int:
    room = images.shape[-1] - size
    if room < 0:
        raise ValueError(f"crops of {images.shape[-1]} are smaller than the input size {size}")
    return room


def _evaluate(
    model: ScoringNetwork, kind: Kind, images: NDArray[np.float32], settings: NetworkSettings
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Features (n, width) and logits (n,) in evaluation mode, of the centre of each crop."""
    model.eval()
    features, logits = [], []
    with torch.inference_mode():
        for start in range(0, len(images), settings.batch_size):
            batch = torch.from_numpy(images[start : start + settings.batch_size])
            feature, logit = model(prepare(kind, _centre(batch, settings.input_size)))
            features.append(feature.numpy())
            logits.append(logit.double().numpy())
    return np.concatenate(features), np.concatenate(logits)


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -500.0, 500.0)))
