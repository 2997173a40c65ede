"""Plausibility of sizes, grey values and contours: rules of thumb, each with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from client.check.finding import Severity
from client.check.look import AIR_HU, SOFT_HU, ImageFacts, RegionFacts
from client.imaging.dicom.folder import worth_a_look

VOXEL_MM = (0.05, 20.0)
VOLUME_MM = (10.0, 3000.0)
THICK_MM = 5.0
# fat is near -100 HU, and every CT of a body contains some
FAT_HU = -50.0
# images scaled to 0...1, z-scores and percentages stay below; a CT holds fat and bone or contrast
SMALLEST_RANGE = 150.0
# metal ends at 3071 as a rule, and at 30710 on a tenfold scale; 16 bits without a sign at 64511
HIGHEST_HU = 32_000.0
LEAST_SOFT = 0.01
REGION_CM3 = (0.05, 1000.0)
MOST_APART = 0.05
LEAST_OVERLAP = 0.5
READERS = {"r1": "reader 1", "r1_repeat": "reader 1 again", "r2": "reader 2"}
READERS["r2_repeat"] = "reader 2 again"


@dataclass(frozen=True)
class Remark:
    """Remark of a rule on one patient; patients with the same remark are listed together."""

    kind: str
    severity: Severity
    what: str
    remedy: str


def passed_over(kinds: Mapping[str, int]) -> Iterator[Remark]:
    """Count files that are not read with a series; warn where they could hold slices."""
    doubtful = {kind: n for kind, n in kinds.items() if worth_a_look(kind)}
    plain = {kind: n for kind, n in kinds.items() if kind not in doubtful}
    if doubtful:
        remedy = "check that the series that was segmented is the one that is read"
        yield Remark("image.passed_over", "warning", _counted(doubtful), remedy)
    if plain:
        yield Remark("image.passed_over", "ok", _counted(plain), "")


def _counted(kinds: Mapping[str, int]) -> str:
    return "passed over: " + ", ".join(f"{n} x {kind}" for kind, n in kinds.items())


def complete(hints: Iterable[str]) -> Iterator[Remark]:
    """Warn where headers suggest more slices than exist; spacing cannot show gaps at an end."""
    remedy = "compare with the number of slices in the archive; a cropped series may be meant"
    for hint in hints:
        yield Remark("image.complete", "warning", f"slices may be missing: {hint}", remedy)


def one_scan(differing: Mapping[str, int]) -> Iterator[Remark]:
    """Warn where slices differ in elements that one reconstruction of one scan shares."""
    if differing:
        tags = ", ".join(f"{tag} ({count} values)" for tag, count in differing.items())
        what = f"slices of one series differ in {tags}"
        remedy = "look whether it is two scans or reconstructions in one, and export the right one"
        yield Remark("image.complete", "warning", what, remedy)


def geometry(image: ImageFacts) -> Iterator[Remark]:
    """Check that voxels and volumes have a possible size for a CT of a body."""
    extent = [n * step for n, step in zip(image.size, image.spacing, strict=True)]
    sizes = " x ".join(f"{step:.4g}" for step in image.spacing)
    small, large = VOXEL_MM
    short, long = VOLUME_MM
    if min(image.spacing) < small or max(image.spacing) > large:
        yield Remark(
            "image.geometry",
            "problem",
            f"voxels of {sizes} mm",
            "correct the spacing in the header: it is in another unit, or lost",
        )
    elif min(extent) < short or max(extent) > long:
        covers = " x ".join(f"{length:.3g}" for length in extent)
        yield Remark(
            "image.geometry",
            "problem",
            f"the volume is {covers} mm large",
            "check the spacing in the header, and that the file holds the whole volume",
        )
    elif max(image.spacing) > THICK_MM:
        yield Remark(
            "image.geometry",
            "warning",
            f"slices {max(image.spacing):.3g} mm apart",
            "use the thinnest reconstruction there is; features depend on it",
        )


def units(image: ImageFacts) -> Iterator[Remark]:
    """Check that grey values can be HU: air and fat below zero, soft tissue near it."""
    remedy = "export the series in HU, with rescale slope and intercept applied"
    if image.high - image.low < SMALLEST_RANGE:
        what = f"not in HU: all values lie between {image.low:.4g} and {image.high:.4g}"
        yield Remark("image.units", "problem", what, remedy)
    elif image.low > FAT_HU:
        what = f"not in HU: no value below {image.low:.4g}, so neither air nor fat"
        yield Remark("image.units", "problem", what, remedy)
    elif image.soft < LEAST_SOFT:
        low, high = SOFT_HU
        what = f"not in HU: {image.soft:.1%} of the voxels lie between {low:g} and {high:g}"
        yield Remark("image.units", "problem", what, remedy)
    elif image.high > HIGHEST_HU:
        what = f"not in HU: values up to {image.high:.0f}, above any metal"
        fix = "export the series again: negative values were written as unsigned numbers"
        yield Remark("image.units", "problem", what, fix)
    elif image.air == 0:
        yield Remark(
            "image.units",
            "warning",
            f"no voxel below {AIR_HU:g} HU, so no air in or around the body",
            "check that the values are HU; a small cut-out may have none",
        )


def place(file: str, region: RegionFacts) -> Iterator[Remark]:
    """Check that the tumour is soft tissue and completely imaged."""
    low, high = SOFT_HU
    if not low < region.median_hu < high:
        yield Remark(
            "mask.place",
            "problem",
            f"{file}: the contour lies outside soft tissue (median {region.median_hu:.0f} HU)",
            "check that the mask belongs to this image",
        )
    elif region.at_border:
        yield Remark(
            "mask.place",
            "warning",
            "the contour reaches the edge of the image",
            "give the whole image: what lies beyond the edge counts as air",
        )


def size(region: RegionFacts) -> Iterator[Remark]:
    """Check that the region is one tumour, neither a stray click nor half a body."""
    small, large = REGION_CM3
    if not small < region.volume_cm3 < large:
        what = f"a contour of {region.volume_cm3:.3g} cm3"
        yield Remark("mask.size", "warning", what, "check the segmentation")
    if region.apart > MOST_APART:
        yield Remark(
            "mask.size",
            "warning",
            "a contour in several pieces",
            "check for stray voxels; crops and shape features take all pieces as one tumour",
        )
    if region.skipped:
        yield Remark(
            "mask.size",
            "warning",
            "a contour that skips slices between others",
            "interpolate these slices where it was drawn, unless they are free of tumour",
        )


def readings(
    masks: Mapping[str, object], overlaps: Mapping[tuple[str, str], float]
) -> Iterator[Remark]:
    """Check that repeat readings show the same tumour with different contours.

    Parameters
    ----------
    masks : by reading.
    overlaps : Dice coefficients.
    """
    if "r2_repeat" in masks and "r2" not in masks:
        yield Remark(
            "mask.readings",
            "warning",
            "mask_r2_repeat without mask_r2: there is nothing to compare it with",
            "add the second reader's first contour, or empty the cell",
        )
    for (first, second), overlap in overlaps.items():
        pair = f"{READERS[first]} and {READERS[second]}"
        if overlap == 0:
            what = f"the contours of {pair} contradict: they have no voxel in common"
            yield Remark("mask.readings", "problem", what, "check which files belong together")
        elif overlap == 1:
            what = f"the contours of {pair} are the same, voxel for voxel"
            remedy = "a copy says nothing of a reader: contour again, or empty the cell"
            yield Remark("mask.readings", "warning", what, remedy)
        elif overlap < LEAST_OVERLAP:
            what = f"the contours of {pair} have less than half in common"
            yield Remark("mask.readings", "warning", what, "check which files belong together")
