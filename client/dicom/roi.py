"""What contours and segments have in common: their choice by name, their place on the grid."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from numpy.typing import NDArray

from client.imaging.errors import PatientError

_LISTED = 20


def choose(names: Mapping[int, str], wanted: str | None, where: str) -> int:
    """The number of the ROI that is meant: the named one, or the only one.

    Parameters
    ----------
    names : of the ROIs that hold something, by number.
    wanted : what stands after "#" in cohort.csv; None when nothing does.

    Raises
    ------
    PatientError : none, several, or none of that name; the names that there are are listed.
    """
    if not names:
        raise PatientError("no ROI in the file", where=where, remedy="save the ROI's segmentation")
    found = [n for n, name in names.items() if wanted is None or name.strip() == wanted]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f'"{name.strip()}"' for name in list(names.values())[:_LISTED])
    more = ", ..." if len(names) > _LISTED else ""
    if wanted is None:
        what = f"{len(names)} ROIs in one file ({listed}{more})"
        remedy = f"name the one that is meant in cohort.csv: {where}#NAME"
    elif found:
        what = f'{len(found)} ROIs are called "{wanted}"'
        remedy = "give them different names where they were drawn, and export the file again"
    else:
        what = f'no ROI "{wanted}" is drawn; there are {listed}{more}'
        remedy = "correct the name after # in cohort.csv"
    raise PatientError(what, where=where, remedy=remedy)


def on_grid(inside: NDArray[np.bool_], image: sitk.Image, where: str) -> sitk.Image:
    """Voxels (z, y, x) as a mask on the grid of the image, uint8.

    Raises
    ------
    PatientError : several slices are filled but no two neighbours, so that those between them
        were left to the interpolation of whoever drew it.
    """
    steps = np.diff(np.flatnonzero(inside.any(axis=(1, 2))))
    if steps.size and steps.min() > 1:
        raise PatientError(
            f"the ROI skips slices: {steps.size + 1} are drawn, no two of them neighbours",
            where=where,
            remedy="interpolate the slices between them where it was drawn, and export it again",
        )
    mask = sitk.GetImageFromArray(inside.astype(np.uint8))
    mask.CopyInformation(image)
    return mask
