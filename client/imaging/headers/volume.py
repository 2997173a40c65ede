"""Content of a volume's header, and the checks that all formats share.

Common libraries repair headers silently: a spacing of zero becomes 1, an offset of zero becomes
another one, skewed axes become upright. So headers are read here, and a header that needs repair
is a fault.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Packing = Literal["none", "gzip", "zlib"]

SHEAR_DEGREES = 0.1
"""Largest departure of two axes from a right angle: 0.5 mm over a stack of 30 cm.

Cosines rounded to three decimals are off by up to 0.1 degrees; gantries tilt by half a degree or
more.
"""

RELATIVE = 1e-4
"""Relative difference of two lengths beyond which they contradict each other (float32: 1e-7)."""

_UNSTATED_MM = (0.05, 50.0)
"""Spacings that can only be mm where no unit is stated: no CT has them in m, cm or micrometres."""

FRESH = "convert the volume again from the original series"


@dataclass(frozen=True)
class Fault:
    """Defect that makes a header unusable, and its repair."""

    what: str
    remedy: str = FRESH


@dataclass(frozen=True)
class VolumeHeader:
    """Grid and storage of a volume.

    Parameters
    ----------
    size : voxels along the three axes, the one that varies fastest first.
    spacing : mm along these axes.
    direction : (3, 3); column i is the unit vector of axis i in patient coordinates (LPS).
    origin : centre of the first voxel, in mm (LPS).
    voxel : numpy's name of the stored type, byte order included.
    offset : bytes before the voxels, or before their compressed form.
    packing : how the voxels are compressed; a NIfTI file is compressed as a whole, see `read_raw`.
    packed : bytes of the compressed form, where the header states them.
    slope, intercept : value = slope * stored + intercept.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    direction: NDArray[np.float64]
    origin: tuple[float, float, float]
    voxel: str
    offset: int
    packing: Packing = "none"
    packed: int | None = None
    slope: float = 1.0
    intercept: float = 0.0

    @property
    def needed(self) -> int:
        """Bytes of all voxels."""
        return math.prod(self.size) * np.dtype(self.voxel).itemsize


Parsed = tuple[VolumeHeader | None, tuple[Fault, ...]]
"""Header, or None, and its faults."""


def grid_faults(
    sizes: Sequence[int], spacing: Sequence[float], spacing_field: str, places: Sequence[float]
) -> Iterator[Fault]:
    """Find sizes below one, spacings that are not positive, and an origin that is not finite."""
    if any(n < 1 for n in sizes):
        yield Fault(f"the size {' x '.join(map(str, sizes))} holds no voxels")
    if not all(math.isfinite(s) and s > 0 for s in spacing):
        yield Fault(f"{spacing_field} is {numbers(spacing)}: every spacing must be above 0")
    if not all(math.isfinite(p) for p in places):
        yield Fault(f"the origin is {numbers(places)}: it must be finite")


def not_3d(sizes: Sequence[int]) -> Fault:
    """Describe a volume with fewer or more than three axes."""
    shape = " x ".join(map(str, sizes))
    return Fault(
        f"not 3-D: {len(sizes)} dimensions ({shape})", "save the one volume that was segmented"
    )


def colour_fault(values: int | str) -> Fault:
    """Describe voxels that hold more than one number."""
    return Fault(
        f"{values} values a voxel instead of one",
        "save a grey-value volume, not colours or vectors",
    )


def axis_faults(axes: NDArray[np.float64], field: str) -> Iterator[Fault]:
    """Find axes (columns) without a length or not at right angles to each other."""
    lengths = np.linalg.norm(axes, axis=0)
    if not np.isfinite(lengths).all() or (lengths <= 0).any():
        yield Fault(f"{field} gives an axis without a length or direction")
        return
    degrees = shear_degrees(axes)
    if degrees > SHEAR_DEGREES:
        yield Fault(
            f"the axes of the volume are not at right angles: {degrees:.2f} degrees off by {field} "
            "(sheared, or a tilted gantry)",
            "resample it to a rectangular grid",
        )


def shear_degrees(axes: NDArray[np.float64]) -> float:
    """Return the largest departure of two axes (columns) from a right angle, in degrees."""
    unit = axes / np.linalg.norm(axes, axis=0)
    cosines = np.abs((unit.T @ unit)[np.triu_indices(3, 1)])
    return float(np.degrees(np.arcsin(np.clip(cosines.max(), 0, 1))))


def unit_faults(unit: str | None, spacing: Sequence[float], field: str) -> Iterator[Fault]:
    """Find units other than mm; without a unit (None), spacings that are unlikely in mm."""
    if unit is None:
        low, high = _UNSTATED_MM
        if not all(low <= s <= high for s in spacing):
            yield Fault(
                f"{field} states no unit of length, and a spacing of {numbers(spacing)} is not "
                "likely in mm",
                f"export the volume in mm, with {field} saying so",
            )
    elif unit != "mm":
        yield Fault(f"{field} says {unit}, not mm", "export the volume in mm")


def numbers(values: Sequence[float]) -> str:
    """Format numbers for a message."""
    return ", ".join(f"{value:.6g}" for value in values)


def triple(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the first three of several numbers."""
    x, y, z = (float(value) for value in values[:3])
    return x, y, z
