"""The choices of a network: what the paper says of its 2D and 3D networks is not the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from common.study.strategy import REGISTERED, strategies
from server.report.choice import Choice, Origin

PAPER, OPEN, ADDED = Origin.PAPER, Origin.OPEN, Origin.ADDED
Network = Literal["dl2d", "dl3d"]

RESNET50 = {
    "block": "bottleneck",
    "layers": (3, 4, 6, 3),
    "widths": (64, 128, 256, 512),
    "stem_kernel": 7,
    "stem_stride": 2,
    "stem_pool": True,
    "shortcut": "B",
    "dilated": False,
}


def network_choices(network: Network) -> Sequence[Choice]:
    """Every choice of `[dl2d]` or `[dl3d]`."""
    flat = network == "dl2d"
    return (*_what_it_is(flat=flat), *_how_it_learns(flat=flat), *_over_hospitals())


def _what_it_is(*, flat: bool) -> Sequence[Choice]:
    source = "ImageNet" if flat else "Med3D"
    return (
        Choice("Architecture", tuple(RESNET50), PAPER, _architecture),
        Choice(
            "Initial weights",
            ("pretrained", "pretrained_sha256"),
            PAPER,
            lambda name, digest: (
                f"{name} (SHA-256 {digest[:12]}...), taken to be {source}'s" if name else "random"
            ),
            paper=source,
            is_papers=lambda name, _: bool(name),
        ),
        Choice(
            "Normalisation",
            ("norm",),
            OPEN,
            lambda norm: {
                "batch": "BatchNorm",
                "frozen": "BatchNorm, statistics kept",
                "group": "GroupNorm",
            }[norm],
        ),
        Choice(
            "Input",
            ("input_size",),
            PAPER,
            lambda size: " by ".join([str(size)] * (2 if flat else 3)),
        ),
        Choice(
            "Augmentation",
            ("augment",),
            PAPER,
            lambda on: "random flips, a random part of a larger crop" if on else "none",
        ),
    )


def _how_it_learns(*, flat: bool) -> Sequence[Choice]:
    return (
        Choice(
            "Rounds, at most",
            ("rounds",),
            OPEN if flat else PAPER,
            remark="" if flat else "epochs in the paper",
        ),
        Choice(
            "Result",
            ("select", "patience"),
            PAPER,
            _result,
            remark="its patience is left open" if flat else "",
        ),
        Choice("Batch", ("batch_size",), PAPER if flat else OPEN),
        Choice(
            "Optimiser",
            ("optimiser", "momentum"),
            PAPER,
            lambda name, momentum: "Adam" if name == "adam" else f"SGD, momentum {momentum:g}",
        ),
        Choice("Learning rate", ("learning_rate",), PAPER),
        Choice("Its course", ("schedule", "warmup_rounds"), OPEN, _course),
        Choice(
            "Weight decay (L2)",
            ("weight_decay",),
            OPEN,
            remark="stated, but not how strong" if flat else "stated for the 2D network alone",
        ),
        Choice("Gradients clipped to", ("gradient_clip",), OPEN, lambda clip: _or(clip, "not")),
        Choice("Order of patients", ("sampling",), OPEN),
        Choice("Weights of negatives and positives", ("class_weights",), OPEN),
        Choice("Precision", ("precision",), OPEN),
    )


def _over_hospitals() -> Sequence[Choice]:
    return (
        Choice("Strategy", ("strategy", "strategy_options"), ADDED, _strategy),
        Choice(
            "A round at a hospital",
            ("local_epochs", "local_steps"),
            ADDED,
            lambda epochs, steps: f"{steps} steps" if steps else _count(epochs, "epoch"),
        ),
        Choice(
            "Weights averaged over",
            ("average_last",),
            ADDED,
            lambda share: f"the last {share:.0%} of the rounds" if share else "no rounds",
        ),
        Choice("Bits a weight that is sent", ("transfer_bits",), ADDED),
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _or(value: float, otherwise: str) -> str:
    return f"{value:g}" if value else otherwise


def _architecture(*values: Any) -> str:
    given = dict(zip(RESNET50, values, strict=True))
    if given == RESNET50:
        return "ResNet50"
    if given == {**RESNET50, "dilated": True}:
        return "ResNet50, dilated"
    layers = ", ".join(map(str, given["layers"]))
    widths = ", ".join(map(str, given["widths"]))
    pool = "pooling" if given["stem_pool"] else "no pooling"
    dilated = ", dilated" if given["dilated"] else ""
    return (
        f"ResNet of {layers} {given['block']} blocks with {widths} planes; first convolution"
        f" {given['stem_kernel']} wide, stride {given['stem_stride']}, {pool}; shortcuts"
        f" {given['shortcut']}{dilated}"
    )


def _result(select: str, patience: int) -> str:
    if select == "last":
        return "the last round, no early stopping"
    stops = f", stopped after {patience} without a better" if patience else ""
    return f"the round with the least held-out loss{stops}"


def _course(schedule: str, warmup: int) -> str:
    rises = f", after {_count(warmup, 'round')} of rising" if warmup else ""
    return f"{schedule}{rises}"


def _strategy(name: str, options: Mapping[str, Any]) -> str:
    own = REGISTERED[name].own_options.model_fields if name in strategies() else ()
    shown = ", ".join(f"{key} {options[key]:g}" for key in own if key in options)
    return f"{name} ({shown})" if shown else name
