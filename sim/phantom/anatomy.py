"""A neck-like CT volume with one tumour, as a hospital's scanner would show it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from sim.phantom.plan import Scanner

Volume = NDArray[np.float64]
_TRUTH_MM = 0.75
_MARGIN_MM = 8.0


@dataclass(frozen=True)
class Tumour:
    """Visible traits of a tumour.

    Parameters
    ----------
    radius_mm : mean radius.
    roughness, texture, necrosis, enhancement : standard normal traits; larger is more aggressive:
        rougher surface, finer texture, larger dark core, brighter rim.
    protocol : standard normal; later contrast phase and lower dose of this patient's scan.
    """

    radius_mm: float
    roughness: float
    texture: float
    necrosis: float
    enhancement: float
    protocol: float = 0.0


@dataclass(frozen=True)
class Scan:
    """A scanned patient, arrays in z, y, x order.

    Parameters
    ----------
    image : int16 HU.
    masks : uint8 contour of each reading.
    spacing : millimetres between voxels, z, y, x.
    """

    image: NDArray[np.int16]
    masks: dict[str, NDArray[np.uint8]]
    spacing: tuple[float, float, float]


def scan(
    rng: np.random.Generator, tumour: Tumour, scanner: Scanner, readings: dict[str, float]
) -> Scan:
    """Draw the anatomy, then scan it.

    Parameters
    ----------
    readings : name of each reading and the SD, in mm, of its contour about the true surface.
    """
    half = tumour.radius_mm * 1.45 + _MARGIN_MM
    count = _odd_fast_length(2 * math.ceil(half / _TRUTH_MM) + 1)
    axis = (np.arange(count) - count // 2) * _TRUTH_MM
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij", sparse=True)
    radius = np.sqrt(z**2 + y**2 + x**2)
    depth = _depth(rng, tumour, radius)
    truth = _neck(rng, tumour, (z, y, x), radius.shape)
    inside = 1.0 / (1.0 + np.exp(-np.clip(depth / 0.3, -50.0, 50.0)))
    truth += inside * (_tissue(rng, tumour, depth) - truth)
    spacing = (scanner.slice_mm, scanner.pixel_mm, scanner.pixel_mm)
    blur = (max(scanner.kernel_mm, 0.4 * scanner.slice_mm), scanner.kernel_mm, scanner.kernel_mm)
    seen = ndimage.gaussian_filter(truth, [width / _TRUTH_MM for width in blur], mode="nearest")
    image = _sampled(seen, spacing)
    noise = ndimage.gaussian_filter(rng.standard_normal(image.shape), (0.0, 0.6, 0.6))
    noise *= scanner.noise_hu * math.exp(scanner.dose_spread * tumour.protocol) / noise.std()
    image += noise + scanner.offset_hu + scanner.phase_hu * tumour.protocol
    masks = {name: _contour(rng, depth, spacing, deviation) for name, deviation in readings.items()}
    return Scan(np.clip(np.rint(image), -1024, 3071).astype(np.int16), masks, spacing)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], scale_mm: float) -> Volume:
    """Draw a Gaussian random field of mean 0 and SD 1 with a correlation length of `scale_mm`."""
    # In the frequency domain, as the cost of a wide kernel would be that of the whole phantom.
    spectrum = fft.rfftn(rng.standard_normal(shape, dtype=np.float32))
    squares = [np.fft.fftfreq(count).astype(np.float32) ** 2 for count in shape[:-1]]
    squares.append(np.fft.rfftfreq(shape[-1]).astype(np.float32) ** 2)
    factor = -2.0 * (math.pi * scale_mm / _TRUTH_MM) ** 2
    for axis, square in enumerate(squares):
        sides = [1] * len(shape)
        sides[axis] = -1
        spectrum *= np.exp(np.float32(factor) * square).reshape(sides)
    field = fft.irfftn(spectrum, s=shape)
    return np.asarray((field - field.mean()) / field.std(), dtype=np.float64)


def _odd_fast_length(count: int) -> int:
    """Return the next odd number of samples that has small factors."""
    while fft.next_fast_len(count, real=False) != count:
        count += 2
    return count


def _depth(rng: np.random.Generator, tumour: Tumour, radius: Volume) -> Volume:
    """Return millimetres below the tumour's surface; negative outside."""
    size = tumour.radius_mm
    broad = smooth_noise(rng, radius.shape, 0.5 * size)
    rough = smooth_noise(rng, radius.shape, 0.18 * size)
    amplitude = size * 0.14 * math.exp(0.6 * tumour.roughness)
    relief = np.clip(
        0.08 * size * broad + min(amplitude, 0.4 * size) * rough, -0.6 * size, 0.4 * size
    )
    return np.asarray(size + relief - radius, dtype=np.float64)


def _tissue(rng: np.random.Generator, tumour: Tumour, depth: Volume) -> Volume:
    """Return HU of tumour tissue: enhancing, textured, with a dark core."""
    size = tumour.radius_mm
    scale = 0.21 * size * math.exp(-0.5 * tumour.texture)
    grain = smooth_noise(rng, depth.shape, float(np.clip(scale, 0.5, 4.0)))
    amplitude = min(28.0 * math.exp(0.35 * tumour.texture), 60.0)
    wall = size * (0.75 - 0.22 * tumour.necrosis)
    patchy = wall + 0.15 * size * smooth_noise(rng, depth.shape, 0.3 * size)
    core = 1.0 / (1.0 + np.exp(-np.clip((depth - patchy) / 0.8, -50.0, 50.0)))
    return np.asarray(
        100.0 + 14.0 * tumour.enhancement + amplitude * grain - 75.0 * core, dtype=np.float64
    )


def _neck(
    rng: np.random.Generator,
    tumour: Tumour,
    axes: tuple[Volume, Volume, Volume],
    shape: tuple[int, ...],
) -> Volume:
    """Return HU around the tumour: muscle and fat, an airway, cartilage and a vessel."""
    z, y, x = axes
    size = tumour.radius_mm
    fat = 1.0 / (1.0 + np.exp(-4.0 * (smooth_noise(rng, shape, 4.0) - 0.3)))
    hu = 48.0 + 8.0 * smooth_noise(rng, shape, 1.2) - 140.0 * fat
    angle = rng.uniform(0.0, 2.0 * math.pi)
    away = size * rng.uniform(1.3, 1.45) + 6.0
    tube = np.hypot(y - away * math.sin(angle), x - away * math.cos(angle)) + 0.05 * z
    hu = np.where(tube < 5.0, -950.0, hu)
    angle += rng.uniform(0.35, 0.65) * math.pi
    away = size * 1.5 + 5.0
    arc = np.abs(np.hypot(y, x) - away) + 8.0 * np.abs(
        np.angle(np.exp(1j * (np.arctan2(y, x) - angle))) / math.pi
    )
    hu = np.where(np.broadcast_to(arc, shape) < 2.2, 260.0, hu)
    angle += rng.uniform(0.4, 0.7) * math.pi
    vessel = np.hypot(y - away * math.sin(angle), x - away * math.cos(angle)) + 0.1 * np.abs(z)
    return np.where(np.broadcast_to(vessel, shape) < 3.0, 185.0, hu)


def _sampled(volume: Volume, spacing: tuple[float, float, float]) -> Volume:
    """Interpolate the centred volume linearly on the scanner's grid."""
    axes = []
    for count, step in zip(volume.shape, spacing, strict=True):
        steps = int((count // 2) * _TRUTH_MM / step)
        axes.append(count // 2 + np.arange(-steps, steps + 1) * step / _TRUTH_MM)
    grid = np.meshgrid(*axes, indexing="ij")
    return np.asarray(ndimage.map_coordinates(volume, grid, order=1), dtype=np.float64)


def _contour(
    rng: np.random.Generator,
    depth: Volume,
    spacing: tuple[float, float, float],
    deviation_mm: float,
) -> NDArray[np.uint8]:
    """Draw a reader's mask: one connected piece within about `deviation_mm` of the true surface."""
    jitter = deviation_mm * smooth_noise(rng, depth.shape, 3.0)
    pieces, count = ndimage.label(_sampled(depth + jitter, spacing) > 0)
    if count > 1:
        largest = int(np.argmax(np.bincount(pieces.ravel())[1:])) + 1
        pieces = pieces == largest
    return np.asarray(pieces > 0, dtype=np.uint8)
