"""Count the numbers of a network from its settings: reading a study needs no torch."""

from __future__ import annotations

from common.models import NetworkName, network_input
from common.study.model import NetworkSettings


def width_of(settings: NetworkSettings) -> int:
    """Return the number of its features, before the linear output."""
    return settings.widths[3] * (4 if settings.block == "bottleneck" else 1)


def network_size(kind: NetworkName, settings: NetworkSettings, outputs: int = 1) -> tuple[int, int]:
    """Count its numbers (weights and running statistics), and the running statistics alone.

    The ResNet of `common.networks.resnet`: a stem, four stages of blocks, a linear layer.
    """
    seen, widths = network_input(kind), settings.widths
    dimensions = seen.dimensions
    convolutions = [seen.channels * widths[0] * settings.stem_kernel**dimensions]
    channels = [widths[0]]  # of every normalisation
    expansion = 4 if settings.block == "bottleneck" else 1
    before = widths[0]
    for stage, (width, blocks) in enumerate(zip(widths, settings.layers, strict=True)):
        after = width * expansion
        for block in range(blocks):
            if expansion == 1:
                kernels = [(before, width, 3), (width, width, 3)]
            else:
                kernels = [(before, width, 1), (width, width, 3), (width, after, 1)]
            strided = stage > 0 and block == 0
            if (strided or before != after) and settings.shortcut == "B":
                kernels.append((before, after, 1))
            convolutions += [a * b * kernel**dimensions for a, b, kernel in kernels]
            channels += [b for _, b, _ in kernels]
            before = after
    running = 2 * sum(channels) if settings.norm != "group" else 0
    head = (before + 1) * outputs
    return sum(convolutions) + 2 * sum(channels) + running + head, running
