"""Convert an RTSTRUCT's contours to a mask on their series (PS3.3, C.8.8.5 and 6)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import NoReturn

import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from numpy.typing import NDArray
from scipy import ndimage

from client.data.cohort_file import COLUMN, FRAME_OF_REFERENCE, NOTHING
from client.imaging.dicom.header import SeriesIdentity, conforming, read_header
from client.imaging.dicom.polygons import (
    FLOAT_ERROR,
    PROBE,
    Polygon,
    Reach,
    band_area,
    combine,
    crossed_over,
    length_in_pixels,
    near_path,
    overlap_in_part,
)
from client.imaging.errors import PatientError
from client.imaging.geometry import voxels_to_patient
from common.utils.text_file import difference, nearest, plain_text

_LISTED = 20
_STRAY_SHARE = 0.01
"""Largest share of the ROI's voxels for a missing part to count as stray."""


def choose(names: Mapping[int, str], wanted: str | None, where: str) -> int:
    """Return the number of the ROI that is meant: the named one, or the only one.

    Parameters
    ----------
    names : of the ROIs that hold something, by number.
    wanted : text after "#" in cohort.csv; None without one.

    Raises
    ------
    PatientError : none, several, or none of that name; the message lists the existing names.
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
    """Return voxels (z, y, x) as a mask on the grid of the image, uint8.

    Raises
    ------
    PatientError : empty slices between two that belong together: left out, or left to the
        interpolation of the drawing program.
    """
    missing = missing_slices(inside)
    if missing:
        to_patient = voxels_to_patient(image)
        # along the axis of the patient nearest to the normal of the slices
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
    """Return the slices on which a part of the ROI is missing though it continues behind them.

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
    # by pixel, the last slice of a part that has ended there; -1 = none
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
    """Return connected parts of a plane that no voxel of the neighbouring plane overlaps."""
    labels, count = ndimage.label(plane, structure=np.ones((3, 3)))
    parts = [labels == number for number in range(1, count + 1)]
    return [part for part in parts if neighbour is None or not (part & neighbour).any()]


_MOST_DECIMALS = 4
_SINGLE = 6e-8
"""Relative error of 32 bits: 12.3 that passed through them reads 12.300000191."""
_ENOUGH = 4
"""Fewest distinct values that show a step: fewer fit a coarser one by chance too often."""
_BY_CHANCE = 1e-3
"""Likelihood below which no hand-drawn ROI has all its corners on centres."""
_TELLING = 0.25
"""Reach in pixels beyond which a corner with truncated digits may be anywhere."""


class Course(Enum):
    """Course of a contour: anywhere, through the centres of pixels, or undecided."""

    DRAWN = "drawn"
    TRACED = "traced"
    UNCLEAR = "unclear"


def rounding_step(values: NDArray[np.float64]) -> float:
    """Return the coarsest power of ten (mm) dividing all values of an axis; 0 below 1e-4.

    Each order of magnitude is looked at by itself: four significant digits round 123.4 more
    coarsely than 12.34.
    """
    own = np.unique(values[values != 0])
    if not own.size:
        return 0.0
    orders = np.floor(np.log10(np.abs(own)))
    groups = [own[orders == order] for order in np.unique(orders)]
    sure = max(map(_step, [group for group in groups if group.size >= _ENOUGH] or [own]))
    # few values may be round by chance: trust one digit less
    return max(sure, *(min(_step(group), 10 * sure) for group in groups))


def reach_of(steps: NDArray[np.float64], to_pixels: NDArray[np.float64]) -> Reach:
    """Return the pixels along columns and rows by which a rounded corner may be off.

    Parameters
    ----------
    steps : (3,) of x, y, z in mm, from `rounding_step`.
    to_pixels : (2, 3), columns and rows per mm.
    """
    columns, rows = np.abs(to_pixels) @ (steps / 2) + FLOAT_ERROR
    return float(columns), float(rows)


def courses(polygons: Sequence[Polygon], reach: Reach) -> list[Course]:
    """Distinguish traced contours of one ROI from drawn ones.

    All together when all are on centres: a single pixel among them proves nothing by itself.
    """
    for wide in _reaches(reach):
        if all(_on_centres(polygon, wide) for polygon in polygons):
            if _chance(np.vstack(polygons), wide) < _BY_CHANCE:
                return [Course.TRACED] * len(polygons)
            break
    return [_course(polygon, reach, len(polygons)) for polygon in polygons]


def snapped(polygon: Polygon) -> Polygon:
    """Return the polygon with its corners on the nearest centres."""
    return np.rint(polygon)


def undecided(polygon: Polygon, shape: tuple[int, int], reach: Reach) -> int:
    """Count the pixels on a drawn path that meets centres as only a traced one does, else 0.

    Every path meets some within the reach of rounding. They are in or out by the rule of
    `interior`, as many in as out, which changes the ROI by less than any two readers differ. A
    path that meets more than half of those that chance would miss is a trace that was changed, or
    drawn on a grid that fits this one: whether its rim belongs to the ROI is undecidable.
    """
    near = int(np.count_nonzero(near_path(polygon, shape, reach)))
    expected, most = band_area(polygon, reach), length_in_pixels(polygon)
    return near if near > (expected + most) / 2 + expected**0.5 else 0


def _step(values: NDArray[np.float64]) -> float:
    slack = _SINGLE * np.abs(values) + 1e-9
    for decimals in range(_MOST_DECIMALS + 1):
        if (np.abs(values - np.round(values, decimals)) <= slack).all():
            return float(10.0**-decimals)
    return 0.0


def _reaches(reach: Reach) -> Iterator[Reach]:
    """Yield the possible displacement of a corner by rounding, and by truncating digits."""
    yield reach
    if max(reach) > 2 * FLOAT_ERROR:
        yield 2 * reach[0], 2 * reach[1]


def _course(polygon: Polygon, reach: Reach, among: int) -> Course:
    if max(reach) >= _TELLING and _on_centres(polygon, (FLOAT_ERROR, FLOAT_ERROR)):
        # a grid of whole millimetres: its centres are whole numbers, rounded or not
        return Course.TRACED if _by_neighbours(polygon) else Course.UNCLEAR
    for wide in _reaches(reach):
        if _on_centres(polygon, wide):
            proven = among * _chance(polygon, wide) < _BY_CHANCE
            return Course.TRACED if proven else Course.UNCLEAR
    return Course.DRAWN


def _on_centres(polygon: Polygon, reach: Reach) -> bool:
    return bool((np.abs(polygon - np.rint(polygon)) <= reach).all())


def _by_neighbours(polygon: Polygon) -> bool:
    """Return whether every edge runs along a row, column or diagonal."""
    way = np.abs(np.roll(np.rint(polygon), -1, axis=0) - np.rint(polygon))
    return bool(((way.min(axis=1) == 0) | (way[:, 0] == way[:, 1])).all())


def _chance(corners: Polygon, reach: Reach) -> float:
    """Return how likely random corners all lie on centres; equal coordinates count once."""
    centres = np.rint(corners)
    columns, rows = (len(np.unique(centres[:, axis])) for axis in (0, 1))
    share = np.minimum(2 * np.array(reach), 1)
    return float(share[0] ** columns * share[1] ** rows)


_TAGS = ["StructureSetROISequence", "ROIContourSequence", "ReferencedFrameOfReferenceSequence"]
_CLOSED, _EXCLUSIVE = "CLOSED_PLANAR", "CLOSEDPLANAR_XOR"
_OFF_SLICE, _MOST_OFF = 0.1, 0.25
"""Tolerated slice distances of a contour from its slice, and the limit when rounded."""
_MOST_UNDECIDED = 0.01
"""Tolerated share of an undecided rim of an ROI, far below the difference of two readers."""
_MOST_CROSSED, _LOOP = 0.01, 2
"""Tolerated share of a contour's pixels, or their number, in loops of an unsteady hand."""
_STRAY = "delete stray points and lines of the ROI, and export it again"
_AGAIN = "export the contours again"
_DECIMALS = "export the contours with at least three decimals, or the mask as DICOM-SEG"


@dataclass(frozen=True)
class _Contour:
    """Corners (n, 3) in mm (LPS), the geometric type, and the slices it names, if any."""

    points: NDArray[np.float64]
    kind: str
    instances: frozenset[str]

    @property
    def place(self) -> str:
        """Start of the contour, for somebody who looks for it."""
        return "the contour at (" + ", ".join(f"{v:.1f}" for v in self.points[0]) + ") mm"


@dataclass(frozen=True)
class _Drawn:
    """Contour as a polygon (columns, rows) on a slice."""

    plane: int
    polygon: Polygon
    contour: _Contour
    course: Course = Course.DRAWN


def read_contours(
    path: Path,
    image: sitk.Image,
    roi: str | None,
    *,
    confirmed: frozenset[str] = NOTHING,
) -> sitk.Image:
    """Read the ROI on the grid of `image`, uint8: voxels whose centre lies within its contours.

    Corners are converted from patient coordinates to the grid, whatever its direction. One contour
    within another is a hole. Contours that run from voxel centre to voxel centre include the
    voxels on their path, however their coordinates are rounded.

    Parameters
    ----------
    image : a series from `read_image`.
    roi : its name; None when the file has one only.
    confirmed : findings that the hospital has checked and confirmed.

    Raises
    ------
    PatientError : the image is no DICOM series; as `check_contour_header`; contours that name
        another slice, lie between slices, beyond the image or across it, cross themselves, overlap
        in part, skip slices, or whose rounding leaves the ROI open.
    """
    where = path.name
    identity = SeriesIdentity.of(image, where)
    header = read_header(path, _TAGS)
    with conforming(where):
        contours = _contours(header, identity, roi, confirmed, where)
        steps = np.array([rounding_step(axis) for axis in _points(contours).T], dtype=np.float64)
        drawn = _on_slices(contours, steps, image, identity, where)
    to_pixels = np.linalg.inv(voxels_to_patient(image))[:2, :3].astype(np.float64)
    reach = reach_of(steps, to_pixels)
    traced = courses([one.polygon for one in drawn], reach)
    drawn = [_settled(one, course, where) for one, course in zip(drawn, traced, strict=True)]
    for one in drawn:
        _check_simple(one, image, reach, where)
    inside = _filled(drawn, image.GetSize(), reach, where)
    _check_decided(drawn, inside, reach, steps, where)
    return on_grid(inside, image, where)


def check_contour_header(
    path: Path,
    identity: SeriesIdentity,
    roi: str | None,
    *,
    confirmed: frozenset[str] = NOTHING,
) -> None:
    """Refuse unusable contours by all that is known without the image's voxels.

    Raises
    ------
    PatientError : contours of another series or frame of reference, that do not name their
        series, are open or damaged; no such ROI, or several.
    """
    header = read_header(path, _TAGS)
    with conforming(path.name):
        _contours(header, identity, roi, confirmed, path.name)


def _points(contours: Iterable[_Contour]) -> NDArray[np.float64]:
    return np.vstack([contour.points for contour in contours])


def _settled(one: _Drawn, course: Course, where: str) -> _Drawn:
    """Return the contour on centres when it was traced, else unchanged."""
    few = len(one.polygon) < 3
    if course is Course.TRACED:
        return _Drawn(one.plane, snapped(one.polygon), one.contour, course)
    if course is Course.UNCLEAR:
        _refuse(
            f"{one.contour.place} is rounded so far that nobody can tell whether it runs through"
            " the centres of voxels",
            where,
            _DECIMALS,
        )
    if few or np.linalg.svd(one.polygon - one.polygon.mean(axis=0))[1][1] <= FLOAT_ERROR:
        _refuse(f"{one.contour.place} has {len(one.polygon)} points and no inside", where, _STRAY)
    return one


def _check_simple(one: _Drawn, image: sitk.Image, reach: Reach, where: str) -> None:
    """Refuse a contour that crosses itself: its loops are ambiguous.

    A slip of the hand turns a corner of the ROI inside out; points in a wrong order (sorted in a
    table, say) make a zigzag of half its size.
    """
    share, places = crossed_over(one.polygon, reach)
    pixels = len(places) * PROBE
    if pixels < _LOOP or share <= _MOST_CROSSED:
        return
    place = voxels_to_patient(image)[:3] @ (*places[0], one.plane, 1)
    near = ", ".join(f"{v:.1f}" for v in place)
    _refuse(
        f"{one.contour.place} crosses itself: {share:.0%} of it lies in loops, the first at"
        f" ({near}) mm",
        where,
        "correct the contour there, or the order of its points, and export it again",
    )


def _filled(
    drawn: Sequence[_Drawn], size: tuple[int, int, int], reach: Reach, where: str
) -> NDArray[np.bool_]:
    """Return the voxels (z, y, x) of the ROI."""
    columns, rows, slices = size
    inside = np.zeros((slices, rows, columns), dtype=np.bool_)
    for plane in sorted({one.plane for one in drawn}):
        own = [one for one in drawn if one.plane == plane]
        polygons = [one.polygon for one in own]
        traced = [one.course is Course.TRACED for one in own]
        # no ROI has walls thinner than half a pixel all around: that is a contour drawn twice
        near = (0.0, 0.0) if all(traced) else (max(2 * reach[0], 0.5), max(2 * reach[1], 0.5))
        declared = all(one.contour.kind == _EXCLUSIVE for one in own)
        if not declared and overlap_in_part(polygons, (rows, columns), near):
            _refuse(
                f"contours of one slice overlap in part, {own[0].contour.place} among them",
                where,
                "join or part them in the planning system, and export again",
            )
        inside[plane] = combine(polygons, traced, (rows, columns))
    return inside


def _check_decided(
    drawn: Sequence[_Drawn],
    inside: NDArray[np.bool_],
    reach: Reach,
    steps: NDArray[np.float64],
    where: str,
) -> None:
    """Refuse contours that may or may not have been traced along the rim of a mask."""
    shape = (inside.shape[1], inside.shape[2])
    loose = [one for one in drawn if one.course is Course.DRAWN]
    open_ones = {i: undecided(one.polygon, shape, reach) for i, one in enumerate(loose)}
    size, rim = int(np.count_nonzero(inside)), sum(open_ones.values())
    if rim <= _MOST_UNDECIDED * size:
        return
    first = next(loose[i] for i, pixels in open_ones.items() if pixels)
    rounded = f", rounded to {steps.max():g} mm," if steps.max() > 0 else ""
    _refuse(
        f"contours{rounded} run through the centres of {rim} voxels of an ROI of {size}, and"
        f" nobody can tell whether these are part of it ({first.contour.place} among them)",
        where,
        _DECIMALS,
    )


def _contours(
    header: pydicom.Dataset,
    identity: SeriesIdentity,
    roi: str | None,
    confirmed: frozenset[str],
    where: str,
) -> list[_Contour]:
    items = [i for i in header.get("ROIContourSequence") or () if i.get("ContourSequence")]
    drawn = _by_number(((int(i.ReferencedROINumber), i) for i in items), where)
    listed = header.get("StructureSetROISequence") or ()
    defined = _by_number(((int(item.ROINumber), item) for item in listed), where)
    names = {n: str(item.get("ROIName", "")) for n, item in defined.items() if n in drawn}
    number = choose(names, roi, where)
    contours = [_contour(item, where) for item in drawn[number].ContourSequence]
    _check_series(header, contours, identity, where)
    frames = {str(defined[number].get("ReferencedFrameOfReferenceUID") or "")}
    frames |= _frames_of(header, identity.series)
    check_frames("the contours", frames - {""}, identity, confirmed, where)
    return contours


def _by_number(
    items: Iterable[tuple[int, pydicom.Dataset]], where: str
) -> dict[int, pydicom.Dataset]:
    found: dict[int, pydicom.Dataset] = {}
    for number, item in items:
        if number in found:
            _refuse(f"two ROIs have the number {number}", where, _AGAIN)
        found[number] = item
    return found


def _contour(item: pydicom.Dataset, where: str) -> _Contour:
    try:
        numbers = np.array([float(v) for v in item.ContourData])
    except (TypeError, ValueError):
        _refuse(
            "a contour has coordinates that are no numbers (written with a decimal comma?)",
            where,
            _AGAIN,
        )
    if not numbers.size or numbers.size % 3 or not np.isfinite(numbers).all():
        _refuse(
            f"a contour has {numbers.size} coordinates: not three finite ones a point",
            where,
            _AGAIN,
        )
    points = numbers.reshape(-1, 3)
    named = item.get("ContourImageSequence") or ()
    instances = frozenset(str(image.ReferencedSOPInstanceUID) for image in named)
    contour = _Contour(points, str(item.get("ContourGeometricType") or ""), instances)
    if not contour.kind:
        _refuse(
            f"{contour.place} does not say whether it is closed (no ContourGeometricType)",
            where,
            _AGAIN,
        )
    said = item.get("NumberOfContourPoints")
    if said is not None and int(said) != len(points):
        what = f"{contour.place} says that it has {said} points, and has {len(points)}"
        _refuse(what, where, _AGAIN)
    if contour.kind not in (_CLOSED, _EXCLUSIVE):
        _refuse(f"{contour.place} is not closed ({contour.kind})", where, _STRAY)
    if any(float(v) != 0 for v in item.get("ContourOffsetVector") or ()):
        what = f"{contour.place} is to be moved (Contour Offset Vector)"
        _refuse(what, where, "export the contours where they belong, without an offset")
    return contour


def _check_series(
    header: pydicom.Dataset, contours: Sequence[_Contour], identity: SeriesIdentity, where: str
) -> None:
    """Check that file and contours name the series; a slice may have a new UID (cropped, say)."""
    listed = _listed_series(header)
    remedy = "give the series that the contours were drawn on"
    if listed and identity.series not in listed:
        _refuse("the contours were drawn on another series", where, remedy)
    own = set(identity.instances)
    for contour in contours:
        if not listed and not contour.instances:
            _refuse("the contours do not say which series they were drawn on", where, remedy)
        named = {uid for uid, instances in listed.items() if instances & contour.instances}
        elsewhere = identity.series not in named if named else not listed
        if elsewhere and not contour.instances & own:
            _refuse(f"{contour.place} was drawn on another series", where, remedy)


def _listed_series(header: pydicom.Dataset) -> dict[str, set[str]]:
    """Return the series that the file names for its contours, each with its slices."""
    listed: dict[str, set[str]] = defaultdict(set)
    for frame in header.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            for series in study.get("RTReferencedSeriesSequence") or ():
                slices = series.get("ContourImageSequence") or ()
                listed[str(series.SeriesInstanceUID)].update(
                    str(item.ReferencedSOPInstanceUID) for item in slices
                )
    return dict(listed)


def _frames_of(header: pydicom.Dataset, wanted: str) -> set[str]:
    """Return the frames of reference under which the file lists a series."""
    return {
        str(frame.get("FrameOfReferenceUID") or "")
        for frame in header.get("ReferencedFrameOfReferenceSequence") or ()
        for study in frame.get("RTReferencedStudySequence") or ()
        for series in study.get("RTReferencedSeriesSequence") or ()
        if str(series.SeriesInstanceUID) == wanted
    }


def _on_slices(
    contours: Sequence[_Contour],
    steps: NDArray[np.float64],
    image: sitk.Image,
    identity: SeriesIdentity,
    where: str,
) -> list[_Drawn]:
    to_voxels = np.linalg.inv(voxels_to_patient(image))
    last, own = np.array(image.GetSize()) - 1, set(identity.instances)
    # rounding may move a contour by half a step, truncating digits by a whole one
    moved = np.abs(to_voxels[:3, :3]) @ steps
    off = min(max(_OFF_SLICE, float(moved[2]) + FLOAT_ERROR), _MOST_OFF)
    reach = 0.5 + FLOAT_ERROR + moved[:2].clip(0, 0.5)
    drawn: list[_Drawn] = []
    for contour in contours:
        voxels = contour.points @ to_voxels[:3, :3].T + to_voxels[:3, 3]
        plane = int(np.rint(np.median(voxels[:, 2])))
        remedy = "draw it on the slices of this series, and export again"
        if np.abs(voxels[:, 2] - plane).max() > off:
            _refuse(f"{contour.place} lies between slices or across them", where, remedy)
        beyond = (voxels[:, :2] < -reach) | (voxels[:, :2] > last[:2] + reach)
        if not 0 <= plane <= last[2] or beyond.any():
            _refuse(f"{contour.place} reaches beyond the image", where, remedy)
        named = contour.instances & own
        if named and identity.instances[plane] not in named:
            _refuse(f"{contour.place} names another slice than it lies on", where, remedy)
        drawn.append(_Drawn(plane, voxels[:, :2], contour))
    return drawn


def _refuse(what: str, where: str, remedy: str) -> NoReturn:
    raise PatientError(what, where=where, remedy=remedy)
