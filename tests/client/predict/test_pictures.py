"""The crop that is drawn is the one that the networks are given, the right way up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from client.imaging.cache import ContentCache
from client.imaging.preparation import PatientJob, prepare
from client.predict.inputs import Case
from client.predict.pictures import PLANES, Crop, crop_of, picture_of_crop, slices_of
from common.study.model import ImagingSettings

SETTINGS = ImagingSettings(crop3d_size=32, crop2d_size=32)


def write_patient(folder: Path) -> Case:
    """A grey box in fat, longest along z, its contour with it; a bright corner up left behind."""
    voxels = np.full((40, 40, 40), -60.0, dtype=np.float32)
    voxels[10:30, 14:24, 16:26] = 60.0
    mask = (voxels > 0).astype(np.uint8)
    voxels[28:30, 22:24, 24:26] = 200.0
    for name, array in (("ct", voxels), ("roi", mask)):
        sitk.WriteImage(sitk.GetImageFromArray(array), str(folder / f"{name}.nii.gz"))
    return Case("p", None, folder / "ct.nii.gz", folder / "roi.nii.gz")


def test_it_is_the_crop_of_the_preparation(tmp_path: Path) -> None:
    case = write_patient(tmp_path)
    crop = crop_of(case, SETTINGS)
    assert case.image is not None
    assert case.mask is not None
    made = prepare(
        [PatientJob("p", case.image, {"r1": case.mask})],
        imaging=SETTINGS,
        radiomics=None,
        cache=ContentCache(tmp_path / "cache"),
        workers=1,
        memory_gib=4.0,
    )
    np.testing.assert_array_equal(crop.image, made.crops3d(["p"])[0])
    assert crop.side_mm == 20.0
    # 10 x 10 x 20 mm of a cube of 20 mm
    assert abs(float(crop.inside.mean()) - 0.25) < 0.01


def test_planes_go_through_the_largest_section_and_stand_upright() -> None:
    inside = np.zeros((8, 8, 8), dtype=np.float32)
    inside[6, 1:6, 2:7] = 1.0
    inside[2:7, 3, 4] = 1.0
    crop = Crop(np.zeros_like(inside), inside, 8.0)
    assert slices_of(crop) == (6, 3, 4)
    axial, coronal, sagittal = PLANES
    assert (axial.top, axial.left, axial.upright) == ("A", "R", False)
    assert (coronal.top, coronal.left, coronal.upright) == ("S", "R", True)
    assert (sagittal.top, sagittal.left, sagittal.upright) == ("S", "A", True)
    assert picture_of_crop(crop).startswith("data:image/png;base64,iVBOR")
