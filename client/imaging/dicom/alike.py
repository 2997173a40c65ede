"""Detect two scans or reconstructions in one series of evenly spaced slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pydicom
from numpy.typing import NDArray

from client.imaging.dicom.header import EXPORT_AGAIN
from client.imaging.dicom.stack import Slice
from client.imaging.errors import PatientError

ALIKE_TAGS = (
    "ConvolutionKernel",
    "SliceThickness",
    "AcquisitionNumber",
    "AcquisitionDate",
    "ContentDate",
    "ContrastBolusAgent",
    "KVP",
    "ReconstructionDiameter",
    "SeriesDescription",
    "ProtocolName",
    "StationName",
)
"""Elements shared by all slices of one reconstruction; tube current and time are not."""

_MEASURED, _ABOUT = ("SliceThickness", "KVP", "ReconstructionDiameter"), 0.02
"""Elements that some exporters compute anew for every slice, and their relative error."""

_FEWEST, _ALTERNATING = 6, 0.75
"""Least slices, and share of steps that change a value, for two series to be interleaved."""

_TISSUE_HU, _TISSUE_SHARE = -500.0, 0.2
_JUMP_HU = 500.0
"""Jump in HU that a wrong intercept (0 for -1024) exceeds and anatomy never reaches.

From slice to slice half of all that is not air stays within it, even at the diaphragm.
"""


def differing(headers: Sequence[pydicom.Dataset], where: str) -> Mapping[str, int]:
    """Count the values of each element that slices should share, where there are several.

    Parameters
    ----------
    headers : in the order of the slices.

    Raises
    ------
    PatientError : slices alternate between a few values, so that two series are interleaved.
    """
    found: dict[str, int] = {}
    for tag in ALIKE_TAGS:
        values = [_plain(header, tag) for header in headers]
        kinds, count = len(set(values)), len(values)
        if kinds < 2 or (tag in _MEASURED and _about_equal(values)):
            continue
        found[tag] = kinds
        changes = sum(a != b for a, b in pairwise(values))
        if count >= _FEWEST and kinds <= count // 2 and changes >= _ALTERNATING * (count - 1):
            raise PatientError(
                f"slices alternate between {kinds} values of {tag}: several series in one",
                where=where,
                remedy="export the one reconstruction of one scan that was segmented",
            )
    return found


def check_rescale(slices: Sequence[Slice], volume: NDArray[np.float32], where: str) -> None:
    """Refuse neighbours that are rescaled differently and do not fit each other in HU.

    Every slice may have its own rescale. Then stored values compensate, and HU are continuous.

    Parameters
    ----------
    volume : HU (slices, rows, columns).

    Raises
    ------
    PatientError : half of all that is not air jumps by `_JUMP_HU` or more.
    """
    used = [(s.pixels.slope, s.pixels.intercept) for s in slices]
    for k, (one, other) in enumerate(pairwise(used), start=1):
        if one == other:
            continue
        below, above = volume[k - 1], volume[k]
        tissue = (below > _TISSUE_HU) | (above > _TISSUE_HU)
        if tissue.mean() < _TISSUE_SHARE:
            continue
        jump = float(np.median(above[tissue] - below[tissue]))
        if abs(jump) > _JUMP_HU:
            scales = " and ".join(
                f"slope {slope:g}, intercept {intercept:g} ({used.count((slope, intercept))}"
                " slices)"
                for slope, intercept in (one, other)
            )
            raise PatientError(
                f"the slices are rescaled by {scales}, and HU jump by {jump:.0f} from one to the"
                f" other (before {slices[k].path.name})",
                where=where,
                remedy=f"{EXPORT_AGAIN}: one rescale is wrong",
            )


def _about_equal(values: Sequence[str]) -> bool:
    if "" in values:
        return False
    try:
        own = [float(value) for value in values]
    except ValueError:
        return False
    return max(own) - min(own) <= _ABOUT * max(map(abs, own))


def _plain(header: pydicom.Dataset, tag: str) -> str:
    try:
        value = header.get(tag)
        text = "" if value is None else str(value).strip()
    except Exception:  # pydicom may raise anything on a value against the standard
        return ""
    try:
        return f"{float(text):.3f}"
    except ValueError:
        return text
