"""Loss curves of the networks, from the events of their rounds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from server.report.words import arm_label, variant_label

Point = tuple[int, float]


def curves(told: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of every network its trainings in the order they began.

    Each has points (round, loss) of the training patients and of those held out; a round that was
    told twice counts as it was told last, and a loss that is no finite number is left out.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for event in told:
        if event["kind"] != "round":
            continue
        one = found.setdefault(
            (event["network"], event["variant"]), {"rounds": 0, "train": {}, "held": {}}
        )
        number = int(event["round"])
        one["rounds"] = int(event["rounds"])
        one["train"][number] = event.get("loss")
        # the loss on the patients held out is that of the round before: it comes with the next
        one["held"][number - 1] = event.get("held_out_loss")
    networks: dict[str, list[dict[str, Any]]] = {}
    for (network, variant), one in found.items():
        networks.setdefault(network, []).append(
            {
                "label": variant_label(variant),
                "rounds": one["rounds"],
                "loss": _points(one["train"]),
                "held_out_loss": _points(one["held"]),
            }
        )
    return [
        {"network": arm_label(name), "trainings": trainings} for name, trainings in networks.items()
    ]


def _points(values: Mapping[int, float | None]) -> list[Point]:
    return [
        (number, float(value))
        for number, value in sorted(values.items())
        if number > 0 and value is not None and math.isfinite(value)
    ]
