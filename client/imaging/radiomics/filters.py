"""Filters of the image types: values in the ROI of the filtered padded box."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any

import numpy as np
import pywt
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from numpy.typing import NDArray
from radiomics import imageoperations

from client.imaging.radiomics import lbp
from client.imaging.radiomics.jit import compiled
from client.imaging.radiomics.log import FEWEST, laplacian
from client.imaging.radiomics.region import Region

Values = NDArray[Any]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Index = np.uint64
Made = Iterator[tuple[str, Values]]
Settings = Mapping[str, Any]
Filter = Callable[[sitk.Image, Region, Settings], Made]

_WAVELET = "coif1"


def filtered(kind: str, image: sitk.Image, mask: sitk.Image, region: Region, own: Settings) -> Made:
    """Yield name and ROI values (n,) of each image that a filter makes, one at a time.

    Parameters
    ----------
    kind : PyRadiomics' name of the filter.
    image, mask : the padded box.
    own : the settings, with those of this image type.
    """
    filters: Mapping[str, Filter] = {
        "Original": _original,
        "Wavelet": _wavelet,
        "LoG": _log,
        "Square": partial(_scaled, "square", _square),
        "SquareRoot": partial(_scaled, "squareroot", _square_root),
        "Logarithm": partial(_scaled, "logarithm", _logarithm),
        "Gradient": _gradient,
        "Exponential": partial(_scaled, "exponential", _exponential),
    }
    if kind == "LBP3D":
        yield from _lbp(image, mask, region, own)
    elif kind in filters and not _special(kind, image, own):
        yield from filters[kind](image, region, own)
    else:
        yield from _upstream(kind, image, mask, region, own)


def _special(kind: str, image: sitk.Image, own: Settings) -> bool:
    """Return whether the settings or the image exceed the replacement here."""
    if kind == "LoG":
        return bool(image.GetPixelID() != sitk.sitkFloat32 or min(image.GetSize()) < FEWEST)
    if kind == "Gradient":
        return bool(image.GetPixelID() != sitk.sitkFloat32)
    if (
        kind == "Wavelet"
        and min(image.GetSize()) < _taps(own.get("wavelet", _WAVELET), "d")[0].size
    ):
        return True
    usual = ("level", 1), ("start_level", 0)
    return kind == "Wavelet" and any(own.get(name, value) != value for name, value in usual)


def _upstream(
    kind: str, image: sitk.Image, mask: sitk.Image, region: Region, own: Settings
) -> Made:
    make = getattr(imageoperations, f"get{kind}Image")
    for made, name, _ in make(image, mask, **own):
        yield name, sitk.GetArrayViewFromImage(made)[region.mask]


def _original(image: sitk.Image, region: Region, own: Settings) -> Made:
    yield "original", sitk.GetArrayViewFromImage(image)[region.mask]


def _scaled(
    name: str,
    scale: Callable[[Values, np.float64], Values],
    image: sitk.Image,
    region: Region,
    _: Settings,
) -> Made:
    """Apply a function of each voxel and of the largest absolute value in the box."""
    box = sitk.GetArrayViewFromImage(image)
    largest = np.maximum(box.max().astype(np.float64), -box.min().astype(np.float64))
    yield name, scale(box[region.mask].astype(np.float64), np.abs(largest))


def _square(values: Values, largest: np.float64) -> Values:
    scaled: Values = ((1 / np.sqrt(largest)) * values) ** 2
    return scaled


def _square_root(values: Values, largest: np.float64) -> Values:
    positive = values > 0
    roots = np.sqrt(np.abs(values) * largest)
    scaled: Values = np.where(positive, roots, -roots)
    return scaled


def _logarithm(values: Values, largest: np.float64) -> Values:
    logarithms = np.log(np.abs(values) + 1)
    scaled: Values = np.where(values > 0, logarithms, -logarithms) * (largest / np.log(largest + 1))
    return scaled


def _exponential(values: Values, largest: np.float64) -> Values:
    scaled: Values = np.exp((np.log(largest) / largest) * values)
    return scaled


def _gradient(image: sitk.Image, region: Region, own: Settings) -> Made:
    """Compute the magnitude of the central differences."""
    spaced = own.get("gradientUseSpacing", True)
    steps = np.array(image.GetSpacing() if spaced else (1.0, 1.0, 1.0))
    box = sitk.GetArrayViewFromImage(image)
    yield "gradient", _magnitudes(box, np.flatnonzero(region.mask), 0.5 * (1.0 / steps))


@compiled
def _magnitudes(box: NDArray[np.float32], places: Ints, weights: Doubles) -> NDArray[np.float32]:
    """Return the gradients at some places of a volume (z, y, x), extended by its border values."""
    depth, height, width = box.shape
    made = np.empty(len(places), dtype=np.float32)
    for i in range(len(places)):
        row = places[i] // width
        x = places[i] - row * width
        z = row // height
        y = row - z * height
        a = box[z, y, min(x + 1, width - 1)] * weights[0] - box[z, y, max(x - 1, 0)] * weights[0]
        b = box[z, min(y + 1, height - 1), x] * weights[1] - box[z, max(y - 1, 0), x] * weights[1]
        c = box[min(z + 1, depth - 1), y, x] * weights[2] - box[max(z - 1, 0), y, x] * weights[2]
        made[i] = np.sqrt(a * a + b * b + c * c)
    return made


def _log(image: sitk.Image, region: Region, own: Settings) -> Made:
    """Yield each sigma that the box is large enough for."""
    spacing = image.GetSpacing()
    for sigma in own.get("sigma", ()):
        fits = all(
            size >= np.ceil(sigma / step) + 1
            for size, step in zip(image.GetSize(), spacing, strict=True)
        )
        if sigma > 0 and fits:
            made = laplacian(sitk.GetArrayViewFromImage(image), region.box, spacing, float(sigma))
            yield f"log-sigma-{str(sigma).replace('.', '-')}-mm-3D", made[region.inside]


def _wavelet(image: sitk.Image, region: Region, own: Settings) -> Made:
    """Yield the eight decompositions, along x, y and z in turn, LLL last as in PyRadiomics.

    PyRadiomics makes all of them, whole, before it yields the first.
    """
    box = sitk.GetArrayViewFromImage(image)
    even = np.pad(box, [(0, size % 2) for size in box.shape], "wrap")
    if even.dtype != np.float32:
        even = even.astype(np.float64)
    made = partial(_bands, _taps(own.get("wavelet", _WAVELET), even.dtype.char), region.box)
    lowest = np.empty(0)
    for x, along_x in made(even, 2):
        for y, along_y in made(along_x, 1):
            for z, along_z in made(along_y, 0):
                values = along_z[region.inside]
                if x + y + z == "LLL":
                    lowest = values
                else:
                    yield f"wavelet-{x}{y}{z}", values
    yield "wavelet-LLL", lowest


@cache
def _taps(wavelet: str, kind: str) -> tuple[Values, Values]:
    """Return the low and the high filter as PyWavelets rounds them, from its answer to a pulse."""
    count = pywt.Wavelet(wavelet).dec_len
    pulse = np.zeros(2 * count, dtype=kind)
    pulse[count // 2] = 1
    low, high = pywt.swt(pulse, wavelet, level=1, start_level=0)[0]
    return low[:count].copy(), high[:count].copy()


def _bands(
    taps: tuple[Values, Values], box: tuple[slice, ...], volume: Values, axis: int
) -> Iterator[tuple[str, Values]]:
    """Yield the low and the high band along an axis, in the ROI's box along it."""
    shape = list(volume.shape)
    shape[axis] = box[axis].stop - box[axis].start
    for name, filter_ in zip("LH", taps, strict=True):
        made = np.empty(shape, dtype=volume.dtype)
        plane, line = (1, 2) if axis == 0 else (0, 3 - axis)
        order = [plane, axis, line]
        steps = [[array.strides[k] // array.itemsize for k in order] for array in (volume, made)]
        layout = np.array([[volume.shape[k] for k in order], *steps])
        _convolve(
            volume.reshape(-1), made.reshape(-1), layout, filter_, box[axis].start, shape[axis]
        )
        yield name, made


@compiled
def _convolve(
    volume: Values, made: Values, layout: Ints, taps: Values, first: int, needed: int
) -> None:
    """Filter lines, wrapped around, and keep `needed` places from `first` on.

    Adds in the order of PyWavelets, where values beyond the end come first, nearest last.
    `layout` has the numbers of planes, places and lines, and their strides before and after.
    """
    planes, n, lines = layout[0, 0], layout[0, 1], layout[0, 2]
    total = np.empty(lines, dtype=volume.dtype)
    for plane in range(planes):
        for i in range(needed):
            for k in range(lines):
                total[k] = 0
            ahead = first + i + len(taps) // 2
            beyond = max(ahead - n + 1, 0)
            for j in range(len(taps)):
                tap = beyond - 1 - j if j < beyond else j
                at = plane * layout[1, 0] + (ahead - tap) % n * layout[1, 1]
                _add(total, volume, np.uint64(at), np.uint64(layout[1, 2]), taps[tap])
            at = plane * layout[2, 0] + i * layout[2, 1]
            _put(made, np.uint64(at), np.uint64(layout[2, 2]), total)


@compiled
def _add(total: Values, volume: Values, at: Index, stride: Index, weight: Any) -> None:
    for k in range(np.uint64(len(total))):
        total[k] += weight * volume[at + k * stride]


@compiled
def _put(made: Values, at: Index, stride: Index, total: Values) -> None:
    for k in range(np.uint64(len(total))):
        made[at + k * stride] = total[k]


def _lbp(image: sitk.Image, mask: sitk.Image, region: Region, own: Settings) -> Made:
    around = lbp.sphere()
    own_choice = any(name.startswith("lbp3D") for name in own)
    found = None
    if around is not None and not own_choice:
        found = lbp.images(sitk.GetArrayViewFromImage(image), region.mask, around)
    if found is None:
        yield from _upstream("LBP3D", image, mask, region, own)
        return
    for name, values in zip(("m1", "m2", "k"), found, strict=True):
        yield f"lbp-3D-{name}", values
