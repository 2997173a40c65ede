"""Training and use of a network: functions of weights, crops and draws alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from client.training.batches import Crops, batches_an_epoch, evaluation_draws, load, training_draws
from client.training.device import CPU, Compute, repeatable
from client.training.outcomes import Outcomes, crop_losses, mean_loss, on_device, patient_answers
from common.models import NetworkName, network_input
from common.networks.resnet import ScoringNetwork, prepare
from common.study.networks import NetworkSettings

GradientHook = Callable[[nn.Module], None]

# By dimensions: channels last is faster for convolutions on CPUs and changes no weight.
_MEMORY = {2: torch.channels_last, 3: torch.channels_last_3d}


@dataclass(frozen=True)
class LocalResult:
    """Result of a site's training.

    Parameters
    ----------
    steps : of the optimiser.
    samples : crops of the last pass over them, or of all steps where there were fewer.
    loss_sum : sum of their losses while training.
    """

    steps: int
    samples: int
    loss_sum: float


def train_locally(
    model: ScoringNetwork,
    kind: NetworkName,
    crops: Crops,
    *,
    settings: NetworkSettings,
    learning_rate: float,
    epochs: int,
    generator: torch.Generator,
    compute: Compute = CPU,
    on_gradient: GradientHook | None = None,
) -> LocalResult:
    """Train `model` in place on one site's crops; it stays on the device.

    The optimiser is made afresh, so nothing but the weights goes from round to round, and every
    random number comes from `generator`: the result does not depend on what ran before. On a GPU
    the last bits may differ where the stem pools in 3D: torch adds up that gradient in no fixed
    order.

    Parameters
    ----------
    epochs : passes over the crops, where `settings.local_steps` does not say how many steps.
    on_gradient : the strategy's, that every gradient goes through before it is clipped.

    Raises
    ------
    ValueError : fewer than two crops, or crops smaller than `settings.input_size`.
    """
    n = len(crops.images)
    if n < 2:
        raise ValueError(f"training needs at least 2 crops, there are {n}")
    an_epoch = batches_an_epoch(n, settings.batch_size)
    steps = settings.local_steps or epochs * an_epoch
    draws = islice(training_draws(crops, settings, generator), steps)
    losses: list[tuple[torch.Tensor, int]] = []
    with repeatable(compute, tensor_float=settings.precision != "float32"):
        stepper = _Stepper(model, kind, settings, learning_rate, compute, on_gradient)
        for draw, images in load(crops, draws, settings.input_size, compute.loaders):
            losses.append((stepper.step(images, crops.outcomes(draw.chosen)), len(images)))
    last = losses[-an_epoch:]
    loss_sum = sum(float(loss) * count for loss, count in last)
    return LocalResult(steps, sum(count for _, count in last), loss_sum)


def infer(
    model: ScoringNetwork,
    kind: NetworkName,
    crops: Crops,
    settings: NetworkSettings,
    patients: int,
    compute: Compute = CPU,
    last: int | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return features (patients, width) and answers (patients,) of means over a patient's crops.

    Parameters
    ----------
    last : last period before the horizon, where the endpoint has a time; see `patient_answers`.

    Raises
    ------
    ValueError : a patient without a crop.
    """
    counts = np.bincount(crops.patient, minlength=patients).astype(np.float64)
    if len(counts) != patients or not counts.all():
        raise ValueError(f"{patients} patients expected, each with at least one crop")
    features, logits = _evaluate(model, kind, crops, settings, compute)
    feature_sum = np.zeros((patients, model.width), dtype=np.float64)
    np.add.at(feature_sum, crops.patient, features)
    answers = patient_answers(logits, crops.patient, patients, last)
    return (feature_sum / counts[:, None]).astype(np.float32), answers


def loss_of(
    model: ScoringNetwork,
    kind: NetworkName,
    crops: Crops,
    settings: NetworkSettings,
    compute: Compute = CPU,
) -> tuple[float, int]:
    """Return the sum of the crops' losses in evaluation mode, and the number of crops."""
    if not len(crops.images):
        return 0.0, 0
    _, logits = _evaluate(model, kind, crops, settings, compute)
    losses = crop_losses(torch.from_numpy(logits), crops.outcomes(), settings)
    return float(losses.sum()), len(losses)


class _Stepper:
    """Network on its device, with optimiser and precision; one call per batch."""

    def __init__(
        self,
        model: ScoringNetwork,
        kind: NetworkName,
        settings: NetworkSettings,
        learning_rate: float,
        compute: Compute,
        on_gradient: GradientHook | None,
    ) -> None:
        self.on_gradient = on_gradient
        self.model, self.kind, self.settings = place_model(model, kind, compute), kind, settings
        model.train()
        if settings.norm == "frozen":
            _freeze_statistics(model)
        self.device = compute.device
        self.optimiser = make_optimiser(model, settings, learning_rate)
        self.type = compute.sixteen_bits(settings.precision)
        # small gradients would vanish in float16; bfloat16 has the range of float32
        self.scaler = torch.GradScaler(self.device.type, enabled=self.type == torch.float16)

    def step(self, images: NDArray[np.float32], outcomes: Outcomes) -> torch.Tensor:
        """Return the mean loss of a batch, before the step."""
        with torch.autocast(self.device.type, self.type, enabled=self.type is not None):
            _, logits = self.model(_ready(images, self.kind, self.device))
        loss = mean_loss(logits.float(), outcomes, self.settings)
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if self.on_gradient or self.settings.gradient_clip:
            self.scaler.unscale_(self.optimiser)
        if self.on_gradient:
            self.on_gradient(self.model)
        if self.settings.gradient_clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.gradient_clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return loss.detach()


def _evaluate(
    model: ScoringNetwork,
    kind: NetworkName,
    crops: Crops,
    settings: NetworkSettings,
    compute: Compute,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return features (n, width) and logits in evaluation mode, of the centre of each crop.

    Always in float32: what a network says of a patient must not depend on the device.
    """
    place_model(model, kind, compute).eval()
    features, logits = [], []
    with torch.inference_mode(), repeatable(compute, tensor_float=False):
        draws = evaluation_draws(crops, settings)
        for _, images in load(crops, draws, settings.input_size, compute.loaders):
            feature, logit = model(_ready(images, kind, compute.device))
            features.append(feature.cpu().numpy())
            logits.append(logit.double().cpu().numpy())
    return np.concatenate(features), np.concatenate(logits)


def place_model(model: ScoringNetwork, kind: NetworkName, compute: Compute) -> ScoringNetwork:
    """Move a network to the device, in the memory layout that is fast there."""
    model.to(compute.device, memory_format=_MEMORY[network_input(kind).dimensions])  # type: ignore[call-overload]
    return model


def _freeze_statistics(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.eval()


def make_optimiser(
    model: ScoringNetwork, settings: NetworkSettings, learning_rate: float
) -> torch.optim.Optimizer:
    """Return the optimiser that the study names, new at every round."""
    if settings.optimiser == "sgd":
        return torch.optim.SGD(
            model.parameters(),
            lr=learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
    return torch.optim.Adam(
        model.parameters(), lr=learning_rate, weight_decay=settings.weight_decay, fused=True
    )


def _ready(images: NDArray[np.float32], kind: NetworkName, device: torch.device) -> torch.Tensor:
    return prepare(kind, on_device(images, device)).contiguous(
        memory_format=_MEMORY[network_input(kind).dimensions]
    )
