"""Network weights as one float32 vector: arrays are costly to send one by one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm)


def flatten(model: nn.Module) -> NDArray[np.float32]:
    """Return a copy of all parameters and of BatchNorm's running statistics, float32 (n,).

    Integer buffers (num_batches_tracked) are counts of a site's own steps and are left out.
    """
    parts = [entry.detach().cpu().reshape(-1) for entry in _floating(model).values()]
    return torch.cat(parts).to(torch.float32).numpy()


def running_ranges(model: nn.Module) -> NDArray[np.int64]:
    """Return ranges (k, 2), start and stop in the flat vector, of BatchNorm's running statistics.

    Weights change by little in a round; a running variance can change by any amount.
    """
    trained = {name for name, _ in model.named_parameters()}
    return _ranges(model, lambda name: name not in trained)


def variance_ranges(model: nn.Module) -> NDArray[np.int64]:
    """Return ranges (k, 2) of BatchNorm's running variances, which are never negative."""
    return _ranges(model, lambda name: name.endswith(".running_var"))


def _ranges(model: nn.Module, wanted: Callable[[str], bool]) -> NDArray[np.int64]:
    """Return the ranges of the wanted entries, neighbours joined."""
    ranges: list[list[int]] = []
    start = 0
    for name, entry in _floating(model).items():
        stop = start + entry.numel()
        if wanted(name):
            if ranges and ranges[-1][1] == start:
                ranges[-1][1] = stop
            else:
                ranges.append([start, stop])
        start = stop
    return np.array(ranges, dtype=np.int64).reshape(-1, 2)


def norm_ranges(model: nn.Module) -> NDArray[np.int64]:
    """Return ranges (k, 2) of normalisation layers: factors, offsets, statistics."""
    norms = tuple(
        f"{name}." for name, module in model.named_modules() if isinstance(module, _NORMS)
    )
    return _ranges(model, lambda name: name.startswith(norms))


def parameter_parts(
    model: nn.Module, vector: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """Return the parts of a flat vector that are trained parameters, by name; views, not copies."""
    trained = dict(model.named_parameters())
    parts, start = {}, 0
    for name, entry in _floating(model).items():
        stop = start + entry.numel()
        if name in trained:
            parts[name] = vector[start:stop].reshape(tuple(entry.shape))
        start = stop
    return parts


def parts_of(vector: NDArray[np.float32], ranges: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the numbers in these ranges, end to end."""
    return np.concatenate([vector[start:stop] for start, stop in ranges] or [vector[:0]])


def with_parts(
    vector: NDArray[np.float32], ranges: NDArray[np.int64], parts: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return a copy of a vector with other numbers in these ranges; inverse of `parts_of`.

    Raises
    ------
    ValueError : more or fewer numbers than the ranges have.
    """
    changed = np.array(vector)
    put_parts(changed, ranges, parts)
    return changed


def put_parts(
    vector: NDArray[np.float32], ranges: NDArray[np.int64], parts: NDArray[np.float32]
) -> None:
    """Put other numbers in these ranges of a vector, in place.

    Raises
    ------
    ValueError : more or fewer numbers than the ranges have.
    """
    if parts.size != int((ranges[:, 1] - ranges[:, 0]).sum()):
        raise ValueError(f"{parts.size} numbers do not fit these ranges")
    begin = 0
    for start, stop in ranges:
        vector[start:stop] = parts[begin : begin + stop - start]
        begin += stop - start


def load_flat(model: nn.Module, vector: NDArray[np.floating]) -> None:
    """Load a flat vector into the model; inverse of `flatten`.

    Raises
    ------
    ValueError : the vector is not 1-D or not as long as the model's own.
    """
    entries = _floating(model)
    expected = sum(entry.numel() for entry in entries.values())
    if vector.ndim != 1 or vector.size != expected:
        raise ValueError(f"weights of shape {vector.shape}, the network has {expected} numbers")
    start = 0
    with torch.no_grad():
        for entry in entries.values():
            # read-only ones, as received in messages, are copied: torch takes none
            own = vector[start : start + entry.numel()]
            part = np.require(own, dtype=np.float32, requirements="W")
            entry.copy_(torch.from_numpy(part).view(entry.shape))
            start += entry.numel()


def _floating(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: entry for name, entry in model.state_dict().items() if entry.is_floating_point()}
