"""How much memory training of a network takes, from its settings: asking needs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from common.networks.size import network_size
from common.study.model import ImagingSettings, NetworkSettings

Kind = Literal["dl2d", "dl3d"]
FLOAT = 4
_DIMENSIONS: dict[Kind, int] = {"dl2d": 2, "dl3d": 3}
# weights, gradients, two moments of Adam, those that came, their change, two forms of it on its way
_COPIES = 8
# workspace of convolutions and gradients on their way, beside what is kept for them
_WORKSPACE = 1.5
_FIRST_DILATED = 2
# batches of crops that are read ahead, in use, and made ready for the network
_BATCHES = 4


def training_bytes(kind: Kind, settings: NetworkSettings) -> int:
    """Bytes of weights, activations and batches while one network is trained.

    Crops are mapped from the cache: the system takes their memory back when it needs it.
    """
    total, _ = network_size(kind, settings)
    kept = settings.batch_size * FLOAT * sum(activations(kind, settings))
    read = _BATCHES * settings.batch_size * FLOAT * settings.input_size ** _DIMENSIONS[kind]
    return int(_COPIES * FLOAT * total + _WORKSPACE * kept + read)


def crop_voxels(kind: Kind, imaging: ImagingSettings) -> int:
    """Voxels of the crops of one patient."""
    if kind == "dl3d":
        return imaging.crop3d_size**3
    return (2 * imaging.crop2d_slices_each_side + 1) * imaging.crop2d_size**2


def activations(kind: Kind, settings: NetworkSettings) -> Iterator[int]:
    """Numbers kept for the gradient, of one crop: what goes into each convolution and norm."""
    dimensions, widths = _DIMENSIONS[kind], settings.widths
    expansion = 4 if settings.block == "bottleneck" else 1
    side = settings.input_size
    yield side**dimensions * (3 if kind == "dl2d" else 1)
    side = _halved(side, settings.stem_stride)
    yield 2 * widths[0] * side**dimensions
    if settings.stem_pool:
        side = _halved(side, 2)
        # the places of the largest values are kept too, as whole numbers of eight bytes
        yield 3 * widths[0] * side**dimensions
    before = widths[0]
    for stage, (width, blocks) in enumerate(zip(widths, settings.layers, strict=True)):
        after = width * expansion
        for block in range(blocks):
            strided = stage > 0 and block == 0
            kept = settings.dilated and stage >= _FIRST_DILATED
            inside, side = side, _halved(side, 2 if strided and not kept else 1)
            if expansion == 1:
                yield 2 * 2 * width * side**dimensions
            else:
                yield 2 * width * (inside**dimensions + side**dimensions)
                yield 2 * after * side**dimensions
            if (strided or before != after) and settings.shortcut == "B":
                yield after * side**dimensions
            before = after


def _halved(side: int, stride: int) -> int:
    return -(-side // stride)
