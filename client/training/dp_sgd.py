"""Local training with differential privacy per patient: DP-SGD by Opacus.

Abadi et al. 2016, "Deep learning with differential privacy", algorithm 1; Yousefpour et al. 2021,
"Opacus: user-friendly differential privacy library in PyTorch".
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from client.store.privacy_budget import poisson
from client.training.batches import Crops, Draw, Indices, centred, load
from client.training.device import CPU, Compute, repeatable
from client.training.loop import make_optimiser, place_model
from client.training.outcomes import Outcomes, crop_losses, on_device
from common.models import NetworkName
from common.networks.resnet import ScoringNetwork, prepare
from common.study.networks import NetworkSettings
from common.study.private_training import DifferentialPrivacy, check_trains_privately

# A crop's own gradient is as large as the network: beyond this number of crops, sums are kept.
_AT_ONCE = 8


@dataclass(frozen=True)
class PrivateResult:
    """Result of a site's private training.

    `samples` and `loss_sum` are exact, without noise: no promise covers them, and they must not
    leave the site.

    Parameters
    ----------
    steps : of the optimiser, empty batches among them.
    samples : crops of the last pass, or of all steps where there were fewer; it is random.
    loss_sum : sum of their losses while training.
    sample_rate : probability with which a patient is drawn in a step.
    noise_multiplier : SD of the noise over the largest norm of a patient's gradient.
    """

    steps: int
    samples: int
    loss_sum: float
    sample_rate: float
    noise_multiplier: float


def train_privately(
    model: ScoringNetwork,
    kind: NetworkName,
    crops: Crops,
    *,
    settings: NetworkSettings,
    private: DifferentialPrivacy,
    learning_rate: float,
    epochs: int,
    generator: torch.Generator,
    noise: torch.Generator | None = None,
    compute: Compute = CPU,
) -> PrivateResult:
    """Train `model` in place on one site's crops; it stays on the device.

    In each step every patient is drawn with the same probability, independently of the others
    (Poisson sampling), so that batches differ in size and may be empty; `settings.batch_size` is
    the expected size, of patients. A drawn patient contributes one random crop. All computation is
    float32.

    Nobody but the site may know the state of the generators: knowing the noise allows to subtract
    it, and the accountant relies on nobody knowing who was drawn.

    Parameters
    ----------
    epochs : passes over the patients, ceil(patients / batch_size) steps each, unless
        `settings.local_steps` sets the number of steps.
    generator : on the CPU, of who is drawn and how crops are cut.
    noise : on the device that trains; None = `generator`, where that is the CPU.

    Raises
    ------
    ValueError : settings or a network that cannot be trained so; no crops, or crops smaller than
        `settings.input_size`.
    """
    check_trains_privately(settings)
    patients = by_patient(crops)
    if not patients:
        raise ValueError("training needs at least 1 crop, there are none")
    expected = min(settings.batch_size, len(patients))
    an_epoch = -(-len(patients) // settings.batch_size)
    rate, steps = poisson(len(patients), settings, epochs)
    draws = patient_draws(crops, patients, settings, rate, steps, generator)
    separable = _separable(place_model(model, kind, compute), settings)
    noise, losses = noise or generator, list[tuple[torch.Tensor, int]]()
    with repeatable(compute, tensor_float=settings.precision != "float32"):
        optimiser = make_optimiser(separable, settings, learning_rate)
        stepper = _Stepper(separable, kind, settings, private, optimiser, expected, noise)
        for draw, images in load(crops, draws, settings.input_size, compute.loaders):
            losses.append((stepper.step(images, crops.outcomes(draw.chosen)), len(images)))
    _copy_weights(separable, model)
    last = losses[-an_epoch:]
    loss_sum = sum(float(loss) for loss, _ in last)
    samples = sum(count for _, count in last)
    return PrivateResult(steps, samples, loss_sum, rate, private.noise_multiplier)


class _Stepper:
    """Network with per-patient gradients, and its optimiser; one call per batch."""

    def __init__(
        self,
        model: ScoringNetwork,
        kind: NetworkName,
        settings: NetworkSettings,
        private: DifferentialPrivacy,
        optimiser: torch.optim.Optimizer,
        expected: int,
        noise: torch.Generator,
    ) -> None:
        from opacus import GradSampleModule
        from opacus.grad_sample import register_grad_sampler
        from opacus.optimizers import DPOptimizer

        register_grad_sampler(_FixedNorm)(_gradients_of_fixed_norm)
        self.kind, self.settings = kind, settings
        self.parameters = list(model.parameters())
        self.device = self.parameters[0].device
        self.model = GradSampleModule(model, loss_reduction="sum")
        self.optimiser = DPOptimizer(
            optimiser,
            noise_multiplier=private.noise_multiplier,
            max_grad_norm=private.max_gradient_norm,
            # not the size of the actual batch, which depends on who is in it
            expected_batch_size=expected,
            generator=noise,
            # the last bits of a plain Gaussian reveal the sum behind it (Holohan, Braghin 2021)
            secure_mode=True,
        )

    def step(self, images: NDArray[np.float32], outcomes: Outcomes) -> torch.Tensor:
        """Return the sum of a batch's losses, before the step."""
        loss = torch.zeros((), device=self.device)
        borders = [*range(0, len(images), _AT_ONCE), len(images)]
        parts = [slice(*ends) for ends in pairwise(borders)]
        for part in parts:
            self.optimiser.zero_grad(set_to_none=True)
            loss += self._gradients(images[part], outcomes.part(part))
            if part is not parts[-1]:
                self.optimiser.signal_skip_step()  # clips and accumulates, and waits for the others
                self.optimiser.step()
        if not parts:
            self._no_gradients()
        self.optimiser.step()
        return loss

    def _gradients(self, images: NDArray[np.float32], outcomes: Outcomes) -> torch.Tensor:
        _, logits = self.model(prepare(self.kind, on_device(images, self.device)).contiguous())
        loss = crop_losses(logits, outcomes, self.settings).sum()
        with warnings.catch_warnings():
            # images need no gradients themselves; those of the first layer exist all the same
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            loss.backward()  # type: ignore[no-untyped-call]
        for parameter in self.parameters:
            # no norm clips infinite values or NaN, and one such patient would show in all weights
            parameter.grad_sample.nan_to_num_(0.0, 0.0, 0.0)  # type: ignore[attr-defined]
        return loss.detach()

    def _no_gradients(self) -> None:
        """Set zero gradients for an empty batch: with noise, it looks like any other."""
        self.optimiser.zero_grad(set_to_none=True)
        for parameter in self.parameters:
            parameter.grad_sample = parameter.new_zeros((0, *parameter.shape))  # type: ignore[attr-defined]


def by_patient(crops: Crops) -> list[Indices]:
    """Return the crops of each patient that has any."""
    order = np.argsort(crops.patient, kind="stable")
    _, starts = np.unique(crops.patient[order], return_index=True)
    return np.split(order, starts[1:]) if len(order) else []


def patient_draws(
    crops: Crops,
    patients: Sequence[Indices],
    settings: NetworkSettings,
    rate: float,
    steps: int,
    generator: torch.Generator,
) -> Iterator[Draw]:
    """Yield batches of one crop per drawn patient; flipped and cut as in `training_draws`."""
    from opacus.utils.uniform_sampler import UniformWithReplacementSampler

    room = crops.room(settings.input_size)
    axes = crops.images[0].ndim
    sampler = UniformWithReplacementSampler(
        num_samples=len(patients), sample_rate=rate, generator=generator, steps=steps
    )
    for drawn in sampler:
        own = [patients[patient] for patient in drawn]
        which = [int(torch.randint(len(crop), (), generator=generator)) for crop in own]
        chosen = np.array([crop[k] for crop, k in zip(own, which, strict=True)], dtype=np.int64)
        if settings.augment:
            shape = (len(chosen), axes)
            flips = torch.rand(shape, generator=generator) < 0.5
            starts = torch.randint(0, room + 1, shape, generator=generator)
            yield Draw(chosen, starts.numpy(), flips.numpy())
        else:
            yield centred(chosen, room, axes)


def _separable(model: ScoringNetwork, settings: NetworkSettings) -> ScoringNetwork:
    """Return a copy of the same values, whose layers Opacus can handle.

    Its weights are contiguous: the fused Adam assumes that gradients have the memory layout of
    weights, and Opacus makes contiguous ones.

    Raises
    ------
    ValueError : a layer that Opacus does not train.
    """
    from opacus.validators import ModuleValidator

    twin: Any = copy.deepcopy(model).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    _take_apart(twin, frozen=settings.norm == "frozen")
    twin.train()
    problems = ModuleValidator.validate(twin)
    if problems:
        raise ValueError(f'{problems[0]} (write norm = "group" or "frozen")')
    separable: ScoringNetwork = twin
    return separable


def _take_apart(module: nn.Module, *, frozen: bool) -> None:
    """Undo all in-place changes of a layer's output, which the hooks of Opacus do not allow."""
    for name, child in module.named_children():
        if isinstance(child, nn.ReLU):
            child.inplace = False
        if isinstance(child, nn.BatchNorm2d | nn.BatchNorm3d) and frozen:
            setattr(module, name, _Apart(_FixedNorm(child)))
        elif isinstance(child, nn.GroupNorm):
            setattr(module, name, _Apart(child))
        else:
            _take_apart(child, frozen=frozen)


class _Apart(nn.Module):
    """Normalisation whose output is a copy: MONAI's blocks add the shortcut into it in place."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.norm(values)
        return out.clone()


class _FixedNorm(nn.Module):
    """BatchNorm with fixed statistics: independent for each patient, like a convolution.

    Opacus refuses BatchNorm in any mode, as it cannot know that the statistics stay; the weights
    are those of the norm itself.
    """

    def __init__(self, norm: nn.BatchNorm2d | nn.BatchNorm3d) -> None:
        super().__init__()
        if norm.running_mean is None or norm.running_var is None:
            raise ValueError("a BatchNorm without running statistics cannot be frozen")
        self.weight, self.bias = norm.weight, norm.bias
        # no buffers, as Opacus assumes that training changes these
        self.mean = norm.running_mean.clone()
        self.scale = torch.rsqrt(norm.running_var + norm.eps)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        shape = (-1, *(1,) * (values.ndim - 2))
        return self.standard(values) * self.weight.view(shape) + self.bias.view(shape)

    def standard(self, values: torch.Tensor) -> torch.Tensor:
        """Return (values - mean) / SD."""
        shape = (-1, *(1,) * (values.ndim - 2))
        return (values - self.mean.view(shape)) * self.scale.view(shape)


def _gradients_of_fixed_norm(
    layer: _FixedNorm, inputs: Sequence[torch.Tensor], gradients: torch.Tensor
) -> dict[nn.Parameter, torch.Tensor]:
    """Return gradients of each crop, (n, channels), from those of the output, for Opacus."""
    return {
        layer.weight: torch.einsum("nc...->nc", layer.standard(inputs[0]) * gradients),
        layer.bias: torch.einsum("nc...->nc", gradients),
    }


def _copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy parameter by parameter, in order: the names of a separable network differ."""
    with torch.no_grad():
        for own, trained in zip(target.parameters(), source.parameters(), strict=True):
            own.copy_(trained)
