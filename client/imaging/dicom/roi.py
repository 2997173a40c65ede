"""Parts that contours and segments share: choice by name, frame of reference, place on the grid."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from numpy.typing import NDArray
from scipy import ndimage

from client.data.confirmed import COLUMN, FRAME_OF_REFERENCE
from client.imaging.dicom.identity import SeriesIdentity
from client.imaging.errors import PatientError
from client.imaging.geometry import voxels_to_patient
from common.utils.lookalike import difference, nearest, plain_text

_LISTED = 20
_STRAY_SHARE = 0.01
"""Share of the ROI's voxels up to which a missing part is taken for a stray one."""


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
    plain = None if wanted is None else plain_text(wanted)
    found = [n for n, name in names.items() if plain is None or plain_text(name) == plain]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f'"{plain_text(name)}"' for name in list(names.values())[:_LISTED])
    more = ", ..." if len(names) > _LISTED else ""
    if wanted is None:
        what = f"{len(names)} ROIs in one file ({listed}{more})"
        remedy = f"name the one that is meant in cohort.csv: {where}#NAME"
    elif found:
        what = f'{len(found)} ROIs are called "{plain}"'
        remedy = "give them different names where they were drawn, and export the file again"
    else:
        close = nearest(wanted, names.values())
        differ = f" ({difference(wanted, close)})" if close is not None else ""
        what = f'no ROI "{plain}" is drawn; there are {listed}{more}{differ}'
        remedy = "correct the name after # in cohort.csv"
    raise PatientError(what, where=where, remedy=remedy)


def check_frames(
    what: str,
    named: AbstractSet[str],
    identity: SeriesIdentity,
    confirmed: frozenset[str],
    where: str,
) -> None:
    """Refuse a mask in another frame of reference than its series, unless that was confirmed.

    Parameters
    ----------
    what : the mask in words, plural or with an article ("the contours").
    named : all frames of reference that the file names for it.
    confirmed : words of the column `confirmed`.

    Raises
    ------
    PatientError : another frame, or none in the file or in the series, and no confirmation.
    """
    own = identity.frame_of_reference
    if (named == {own} and own) or FRAME_OF_REFERENCE in confirmed:
        return
    if not named:
        said = f"nothing says which frame of reference {what} are in"
    elif not own:
        said = f"the series has no frame of reference, while {what} name one"
    else:
        said = f"{what} are in another frame of reference than the series"
    raise PatientError(
        said,
        where=where,
        remedy="export both together, and de-identify both in one go; or look at the ROI on the"
        f" images, and if it lies right, write {FRAME_OF_REFERENCE} into the column {COLUMN} of"
        " this patient's row of cohort.csv",
    )


def on_grid(inside: NDArray[np.bool_], image: sitk.Image, where: str) -> sitk.Image:
    """Voxels (z, y, x) as a mask on the grid of the image, uint8.

    Raises
    ------
    PatientError : slices between two that belong together are empty: they were left out, or left
        to the interpolation of whoever drew it.
    """
    missing = missing_slices(inside)
    if missing:
        to_patient = voxels_to_patient(image)
        # along the axis of the patient that the slices follow most
        axis = int(np.abs(to_patient[:3, 2]).argmax())
        row, column = (int(at.mean()) for at in np.nonzero(inside.any(axis=0)))
        places = [float(to_patient[axis] @ (column, row, k, 1)) for k in missing]
        listed = ", ".join(f"{'xyz'[axis]} = {place:.1f}" for place in places[:_LISTED])
        more = ", ..." if len(places) > _LISTED else ""
        slices = "slice" if len(missing) == 1 else "slices"
        raise PatientError(
            f"the ROI skips {len(missing)} {slices} between others ({listed}{more} mm)",
            where=where,
            remedy="interpolate these slices where it was drawn, or delete the stray contours"
            " beyond them, and export it again",
        )
    mask = sitk.GetImageFromArray(inside.astype(np.uint8))
    mask.CopyInformation(image)
    return mask


def missing_slices(inside: NDArray[np.bool_]) -> list[int]:
    """Return the slices on which a part of the ROI is missing though it goes on behind them.

    A part ends on a slice and one begins a few slices on, over the same place and with nothing in
    between: a slice left out. Over another place it is a piece of its own, such as a second node.
    Stray voxels on slices that are drawn otherwise do not count. An ROI drawn on single slices
    alone, no two of them neighbours, was never interpolated.
    """
    drawn = np.flatnonzero(inside.any(axis=(1, 2)))
    empty = set(range(drawn[0], drawn[-1])) - set(drawn.tolist()) if drawn.size else set()
    if empty and np.diff(drawn).min() > 1:
        return sorted(empty)
    least = _STRAY_SHARE * np.count_nonzero(inside)
    missing: set[int] = set()
    # by pixel, the slice on which a part that came to its end was last seen there; -1 = none
    ended = np.full(inside.shape[1:], -1, dtype=np.int64)
    for k in drawn:
        for part in _parts(inside[k], inside[k - 1] if k else None):
            before = ended[part]
            if (before >= 0).any():
                gap = range(int(before.max()) + 1, int(k))
                many = np.count_nonzero(before >= 0) * len(gap) > least
                missing.update(gap if many else empty.intersection(gap))
        ended[inside[k]] = -1
        for part in _parts(inside[k], inside[k + 1] if k + 1 < len(inside) else None):
            ended[part] = k
    return sorted(missing)


def _parts(
    plane: NDArray[np.bool_], neighbour: NDArray[np.bool_] | None
) -> list[NDArray[np.bool_]]:
    """Connected parts of a plane with no voxel of the ROI above them in the neighbouring plane."""
    labels, count = ndimage.label(plane, structure=np.ones((3, 3)))
    parts = [labels == number for number in range(1, count + 1)]
    return [part for part in parts if neighbour is None or not (part & neighbour).any()]
