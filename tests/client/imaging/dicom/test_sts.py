"""Three real patients of whom there are DICOM and NIfTI files of the same CT and contour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by

from client.imaging.radiomics.extraction import extract
from client.imaging.reading import read_image, read_mask

STS = Path(__file__).parents[5] / "shared" / "data" / "sts"
PATIENTS = ("STS_002", "STS_019", "STS_025")

pytestmark = pytest.mark.skipif(
    not STS.is_dir(),
    reason="NOT TESTED: real DICOM against NIfTI, as shared/data/sts is not beside the project",
)


def dicom(patient: str) -> tuple[Path, Path]:
    folder = STS / "dicom" / patient
    return folder / "ct", folder / "rtstruct.dcm"


def nifti(patient: str) -> tuple[Path, Path]:
    image = next(STS.glob(f"centre_*/images/{patient}.nii.gz"))
    return image, image.parents[1] / "masks" / "r1" / image.name


@pytest.mark.parametrize("patient", PATIENTS)
def test_the_series_has_the_voxels_and_the_place_of_the_nifti_volume(patient):
    image, other = read_image(dicom(patient)[0]), read_image(nifti(patient)[0])
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(other))
    assert image.GetDirection() == other.GetDirection()
    assert image.GetSpacing() == other.GetSpacing()
    # NIfTI rounds the origin to float32
    np.testing.assert_allclose(image.GetOrigin(), other.GetOrigin(), rtol=1e-7)


@pytest.mark.parametrize("patient", PATIENTS)
def test_the_contours_give_the_mask_of_the_nifti_file(patient):
    series, contours = dicom(patient)
    drawn = sitk.GetArrayFromImage(read_mask(contours, read_image(series)))
    volume, mask = nifti(patient)
    saved = sitk.GetArrayFromImage(read_mask(mask, read_image(volume)))
    dice = 2 * np.count_nonzero(drawn & saved) / (drawn.sum() + saved.sum())
    assert dice == 1, "measured; at least 0.99 is asked for"


@pytest.mark.parametrize("patient", PATIENTS)
def test_the_features_are_those_of_the_nifti_file(patient):
    names, found = extract(*dicom(patient), "radiomics-1834", 1834)
    other_names, expected = extract(*nifti(patient), "radiomics-1834", 1834)
    assert names == other_names
    np.testing.assert_array_equal(found, expected)
