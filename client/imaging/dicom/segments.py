"""Choose a segment of a DICOM-SEG, and refuse what its header rules out (PS3.3, A.51)."""

from __future__ import annotations

import pydicom

from client.imaging.dicom.identity import SeriesIdentity
from client.imaging.dicom.roi import check_frames, choose
from client.imaging.errors import PatientError

SEGMENT_TAGS = [
    "ReferencedSeriesSequence",
    "FrameOfReferenceUID",
    "SegmentationType",
    "SegmentSequence",
]


def chosen_segment(
    header: pydicom.Dataset,
    identity: SeriesIdentity,
    label: str | None,
    confirmed: frozenset[str],
    where: str,
) -> int:
    """Return the number of the segment that is meant, by the header alone.

    Raises
    ------
    PatientError : a segmentation of another series or frame of reference, or fractional; no such
        segment, or several.
    """
    remedy = "give the series that was segmented, as it was then"
    named = header.get("ReferencedSeriesSequence") or ()
    if not named:
        raise PatientError(
            "the segmentation does not say which series it belongs to", where=where, remedy=remedy
        )
    if identity.series not in {str(item.SeriesInstanceUID) for item in named}:
        raise PatientError("a segmentation of another series", where=where, remedy=remedy)
    frames = {str(header.get("FrameOfReferenceUID") or "")} - {""}
    check_frames("the segments", frames, identity, confirmed, where)
    if str(header.get("SegmentationType")) == "FRACTIONAL":
        raise PatientError(
            "a fractional segmentation: where its ROI ends is not said",
            where=where,
            remedy="save it as a binary segmentation",
        )
    listed = [(int(item.SegmentNumber), item) for item in header.get("SegmentSequence") or ()]
    if len({number for number, _ in listed}) < len(listed):
        raise PatientError(
            "two segments have the same number",
            where=where,
            remedy="save the segmentation again, each segment under a number of its own",
        )
    # 0 is the background of a label map
    labels = {n: str(item.get("SegmentLabel") or "") for n, item in listed if n > 0}
    return choose(labels, label, where)
