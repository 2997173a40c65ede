"""Facts of an image and its contours, against volumes whose facts are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from client.check.look import Job, dice, image_facts, look, region_facts

SHAPE = (20, 24, 28)


def volume(values: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((1.0, 1.0, 2.0))
    return image


def region(*boxes: tuple[slice, slice, slice]) -> sitk.Image:
    values = np.zeros(SHAPE, dtype=np.uint8)
    for box in boxes:
        values[box] = 1
    return volume(values)


MAIN = (slice(5, 10), slice(6, 16), slice(8, 18))


@pytest.fixture
def ct() -> np.ndarray:
    values = np.full(SHAPE, 50.0, dtype=np.float32)
    values[:, :12] = -1000
    return values


def test_shares_of_air_and_soft_tissue(ct: np.ndarray) -> None:
    facts = image_facts(volume(ct))
    assert (facts.size, facts.spacing) == ((28, 24, 20), (1.0, 1.0, 2.0))
    assert (facts.low, facts.high, facts.air, facts.soft) == (-1000, 50, 0.5, 0.5)


def test_volume_median_and_pieces_of_a_contour(ct: np.ndarray) -> None:
    stray = (slice(15, 16), slice(20, 21), slice(20, 25))
    found = region_facts(volume(ct), region(MAIN, stray))
    assert found.volume_cm3 == pytest.approx(505 * 2 / 1000)
    assert found.median_hu == -1000
    assert found.apart == pytest.approx(5 / 505)
    assert not found.at_border


def test_voxels_that_touch_at_a_corner_are_one_piece(ct: np.ndarray) -> None:
    corner = (slice(10, 12), slice(16, 18), slice(18, 20))
    assert region_facts(volume(ct), region(MAIN, corner)).apart == 0


@pytest.mark.parametrize("at", [slice(0, 3), slice(-3, None)])
def test_a_contour_at_the_edge_is_noticed(ct: np.ndarray, at: slice) -> None:
    assert region_facts(volume(ct), region((slice(5, 8), at, slice(5, 8)))).at_border


def test_dice_of_shifted_boxes() -> None:
    first, second = np.zeros(8, dtype=bool), np.zeros(8, dtype=bool)
    first[:4], second[2:6] = True, True
    assert dice(first, second) == 0.5
    assert dice(first, first) == 1
    assert dice(first, ~first) == 0


def test_one_bad_contour_leaves_the_others(ct: np.ndarray, tmp_path: Path) -> None:
    ct += np.random.default_rng(0).normal(0, 5, SHAPE).astype(np.float32)
    files = {name: tmp_path / f"{name}.nii.gz" for name in ("ct", "r1", "r1_repeat", "r2")}
    sitk.WriteImage(volume(ct), str(files["ct"]))
    sitk.WriteImage(region(MAIN), str(files["r1"]))
    sitk.WriteImage(region(MAIN) * 0, str(files["r1_repeat"]))
    sitk.WriteImage(region(MAIN), str(files["r2"]))
    masks = {name: path for name, path in files.items() if name != "ct"}
    seen = look(Job("p1", files["ct"], masks))
    ((kind, file, what, _),) = seen.problems
    assert (kind, file, what) == ("mask.unusable", "r1_repeat.nii.gz", "the mask is empty")
    assert set(seen.regions) == {"r1", "r2"}
    assert seen.overlaps == {("r1", "r2"): 1.0}
