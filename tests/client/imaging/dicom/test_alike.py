"""Series that are two in one: other rescale, kernel, acquisition, thickness or contrast."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by

from client.imaging.dicom.series import survey_series
from client.imaging.reading import PatientError, read_image
from tests.client.imaging.dicom.conftest import Series


@pytest.fixture
def body(ct: Series) -> Series:
    """Soft tissue in air, alike on all slices."""
    row, column = np.indices(ct.hu.shape[1:])
    inside = (row - 9) ** 2 / 60 + (column - 12) ** 2 / 90 < 1
    noise = np.random.default_rng(2).integers(-20, 20, ct.hu.shape)
    ct.hu = np.where(inside, 40, -1000) + noise
    ct.instances = [ct.write(ct.slice(k), k) for k in range(6)]
    return ct


@pytest.mark.parametrize("slices", [(0,), (2, 3), (1, 3, 5), (4, 5)])
@pytest.mark.parametrize("rescale", [{"RescaleIntercept": 0}, {"RescaleSlope": 2}])
def test_a_rescale_of_some_slices_that_does_not_fit_their_neighbours_is_refused(
    body, slices, rescale
):
    for k in slices:
        body.change(k, **rescale)
    with pytest.raises(PatientError, match=r"the slices are rescaled by slope .* and HU jump by"):
        read_image(body.folder)


@pytest.mark.parametrize("slices", [(0,), (2, 3), (1, 3, 5)])
def test_slices_whose_stored_values_compensate_their_rescale_are_read(body, slices):
    for k in slices:
        stored = ((body.hu[k] + 2000) * 2).astype(np.uint16).tobytes()
        body.change(k, RescaleSlope=0.5, RescaleIntercept=-2000, PixelData=stored)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(body.folder)), body.hu)


FIELDS = {
    "ConvolutionKernel": "B70f",
    "SliceThickness": 5,
    "AcquisitionNumber": 2,
    "AcquisitionDate": "20200103",
    "ContrastBolusAgent": "iodine",
    "KVP": 80,
    "ReconstructionDiameter": 350,
}


@pytest.mark.parametrize("tag", FIELDS)
def test_halves_of_two_scans_are_told_and_slices_of_two_in_turn_are_refused(body, tag):
    assert survey_series(body.folder).differing == {}
    for k in (3, 4, 5):
        body.change(k, **{tag: FIELDS[tag]})
    assert survey_series(body.folder).differing == {tag: 2}
    body.instances = [body.write(body.slice(k), k) for k in range(6)]
    for k in (1, 3, 5):
        body.change(k, **{tag: FIELDS[tag]})
    with pytest.raises(PatientError, match=f"slices alternate between 2 values of {tag}"):
        survey_series(body.folder)


def test_a_number_of_its_own_for_every_slice_is_no_second_scan(body):
    for k in range(6):
        body.change(k, AcquisitionNumber=k + 1)
    assert survey_series(body.folder).differing == {"AcquisitionNumber": 6}


def test_a_thickness_computed_anew_for_every_slice_is_no_second_scan(body):
    for k in range(6):
        body.change(k, SliceThickness=2.5 + 0.004 * (k % 2))
    assert survey_series(body.folder).differing == {}


@pytest.mark.parametrize("digits", [3, 4, 5])
def test_rounded_cosines_move_no_slice(tmp_path, digits):
    turned = np.radians(0.3)
    exact = (np.cos(turned), np.sin(turned), 0.0, -np.sin(turned), np.cos(turned), 0.0)
    ct = Series(tmp_path / "ct", exact)
    wanted = read_image(ct.folder)
    for k in range(6):
        short = [round(0.9999 * v, digits) for v in exact]
        ct.change(k, ImageOrientationPatient=short)
    found = read_image(ct.folder)
    np.testing.assert_allclose(found.GetOrigin(), wanted.GetOrigin(), atol=1e-6)
    np.testing.assert_allclose(found.GetSpacing(), wanted.GetSpacing(), atol=1e-6)
    np.testing.assert_allclose(found.GetDirection(), wanted.GetDirection(), atol=1e-3)
