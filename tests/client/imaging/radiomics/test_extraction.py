from __future__ import annotations

import csv
import logging
import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from radiomics.featureextractor import RadiomicsFeatureExtractor

from client.imaging.errors import PatientError
from client.imaging.geometry import plain_mm
from client.imaging.radiomics import extraction
from client.imaging.radiomics.extraction import extract, extract_roi, feature_names, to_csv
from common.errors import InputError, StudyError
from common.study.model import ImagingSettings

PRESET = Path(__file__).parents[4] / "common" / "presets" / "radiomics-1834.yaml"
STS = Path(__file__).parents[5] / "shared" / "data" / "sts"
NAME, EXPECTED = "radiomics-1834", 1834


def write(path: Path, values: np.ndarray, spacing) -> Path:
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(spacing)
    image.SetOrigin((-31.3, 12.7, 5.1))
    sitk.WriteImage(image, str(path))
    return path


def ball(shape, centre, radius_mm, spacing) -> np.ndarray:
    steps = zip(np.indices(shape), centre, spacing[::-1], strict=True)
    inside: np.ndarray = sum(((i - c) * s) ** 2 for i, c, s in steps) < radius_mm**2
    return inside.astype(np.uint8)


def files(folder: Path, spacing, shape, centre, dtype=np.float32) -> tuple[Path, Path]:
    noise = np.random.default_rng(5).normal(40, 90, shape)
    noise[:, : centre[1] - 9] -= 800
    return (
        write(folder / "ct.nii.gz", noise.astype(dtype), spacing),
        write(folder / "roi.nii.gz", ball(shape, centre, 7, spacing), spacing),
    )


def direct(image: Path, mask: Path) -> dict[str, float]:
    """PyRadiomics by itself on the whole files, but for the rounding of their headers."""
    extractor = RadiomicsFeatureExtractor(str(PRESET))
    logging.getLogger("radiomics").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = extractor.execute(*(plain(path) for path in (image, mask)))
    return {k: float(v) for k, v in found.items() if not k.startswith("diagnostics_")}


def plain(path: Path) -> sitk.Image:
    image = sitk.ReadImage(str(path))
    image.SetSpacing([plain_mm(value) for value in image.GetSpacing()])
    image.SetOrigin((0, 0, 0))
    return image


def assert_same(names, values, reference):
    assert list(names) == list(reference)
    np.testing.assert_allclose(values, list(reference.values()), rtol=1e-9, atol=1e-12)


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> tuple[Path, Path]:
    return files(tmp_path_factory.mktemp("small"), (1, 1, 1), (40, 40, 40), (20, 20, 20))


@pytest.fixture(scope="module")
def features(small) -> dict[str, float]:
    names, values = extract(*small, NAME, EXPECTED)
    return dict(zip(names, values, strict=True))


def test_there_are_1834_finite_features_of_the_declared_kinds(features):
    assert len(features) == EXPECTED
    assert np.isfinite(list(features.values())).all()
    kinds = Counter(tuple(name.split("_")[:2]) for name in features)
    assert kinds.pop(("original", "shape")) == 14
    image_types = {image for image, _ in kinds}
    assert len(image_types) == 20
    per_class = {"firstorder": 18, "glcm": 22, "gldm": 14, "glrlm": 16, "glszm": 16, "ngtdm": 5}
    for image in image_types:
        assert {c: n for (i, c), n in kinds.items() if i == image} == per_class
    assert {i for i in image_types if i.startswith("lbp")} == {
        "lbp-3D-m1",
        "lbp-3D-m2",
        "lbp-3D-k",
    }
    assert not any("SumAverage" in name or "MCC" in name for name in features)


@pytest.mark.parametrize(
    ("spacing", "shape", "centre"),
    [
        ((0.83, 0.83, 2.7), (40, 150, 140), (19, 70, 66)),
        ((0.83, 0.83, 2.7), (40, 150, 140), (5, 12, 130)),
        ((1.0, 1.0, 1.0), (90, 95, 100), (45, 50, 40)),
    ],
)
def test_cutting_around_the_roi_changes_no_value(tmp_path, spacing, shape, centre):
    pair = files(tmp_path, spacing, shape, centre)
    assert_same(*extract(*pair, NAME, EXPECTED), direct(*pair))


@pytest.mark.skipif(not STS.is_dir(), reason="shared/data/sts is not beside the project")
def test_real_ct_has_the_values_of_pyradiomics_itself():
    image = next(STS.glob("centre_*/images/STS_008.nii.gz"))
    mask = image.parents[1] / "masks" / "r1" / image.name
    assert_same(*extract(image, mask, NAME, EXPECTED), direct(image, mask))


def test_integer_and_float_files_of_the_same_ct_agree(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    spacing, shape, centre = (0.83, 0.83, 2.7), (14, 40, 40), (7, 20, 20)
    whole = files(tmp_path / "a", spacing, shape, centre, np.int16)
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(whole[0]))).astype(np.float32)
    other = write(tmp_path / "b" / "ct.nii.gz", values, spacing), whole[1]
    np.testing.assert_array_equal(
        extract(*whole, NAME, EXPECTED)[1], extract(*other, NAME, EXPECTED)[1]
    )


@pytest.mark.parametrize("order", ["window_first", "resample_first"])
def test_a_window_clips_what_the_features_see_and_leaves_the_shape(tmp_path, order):
    image, mask = files(tmp_path, (0.83, 0.83, 2.7), (14, 40, 40), (7, 20, 20))
    read = sitk.ReadImage(str(image)), sitk.ReadImage(str(mask))
    whole = dict(zip(*extract_roi(*read, "radiomics-original", 105), strict=True))
    window = ImagingSettings(order=order)
    clipped = dict(zip(*extract_roi(*read, "radiomics-original", 105, window=window), strict=True))
    assert whole["original_firstorder_Maximum"] > 225
    assert whole["original_firstorder_Minimum"] < -125
    assert clipped["original_firstorder_Maximum"] == 225
    assert clipped["original_firstorder_Minimum"] == -125
    shapes = [name for name in whole if "_shape_" in name]
    assert [clipped[name] for name in shapes] == [whole[name] for name in shapes]


def test_features_in_a_window_are_those_of_the_clipped_image(small, tmp_path):
    clipped = tmp_path / "clipped.nii.gz"
    sitk.WriteImage(sitk.Clamp(sitk.ReadImage(str(small[0])), sitk.sitkFloat32, -125, 225), clipped)
    read = sitk.ReadImage(str(small[0])), sitk.ReadImage(str(small[1]))
    found = extract_roi(*read, NAME, EXPECTED, window=ImagingSettings())
    assert_same(*found, direct(clipped, small[1]))


def test_first_order_and_shape_agree_with_numpy_and_geometry(small, features):
    image, mask = (sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in small)
    inside = image[mask > 0].astype(np.float64)
    expected = {
        "Mean": inside.mean(),
        "Variance": inside.var(),
        "Minimum": inside.min(),
        "90Percentile": np.percentile(inside, 90),
        "Energy": ((inside + 1000) ** 2).sum(),  # voxelArrayShift
    }
    for name, value in expected.items():
        assert features[f"original_firstorder_{name}"] == pytest.approx(value, rel=1e-9)
    assert features["original_shape_VoxelVolume"] == mask.sum()
    assert features["original_shape_MeshVolume"] == pytest.approx(4 / 3 * np.pi * 7**3, rel=0.07)
    assert features["original_shape_Sphericity"] == pytest.approx(1, abs=0.08)


IBSI = """
1 4 4 1 1 / 1 4 6 1 1 / 4 1 6 4 1 / 4 4 6 4 1
1 4 4 1 1 / 1 1 6 1 1 / 0 1 3 1 1 / 4 4 6 1 1
1 4 4 0 0 / 1 1 1 1 1 / 1 1 0 1 1 / 1 1 6 1 1
1 4 4 0 0 / 1 1 1 1 1 / 1 1 1 1 1 / 1 1 6 1 1
"""
"""The digital phantom of the IBSI reference manual (Zwanenburg 2016), 0 outside the ROI."""

IBSI_VALUES = {
    "firstorder_Mean": 2.15,
    "firstorder_Variance": 3.05,
    "firstorder_Skewness": 1.08,
    "glcm_JointAverage": 2.14,
    "glcm_SumSquares": 3.10,
    "glcm_JointEntropy": 2.40,
    "glcm_DifferenceAverage": 1.43,
    "glcm_Contrast": 5.32,
    "glcm_Id": 0.677,
    "glcm_Idm": 0.619,
    "glcm_Autocorrelation": 5.06,
    "glcm_ClusterTendency": 7.07,
    "glcm_ClusterShade": 16.6,
    "glcm_ClusterProminence": 145,
    "glcm_JointEnergy": 0.303,
    "glcm_MaximumProbability": 0.503,
    "glszm_SmallAreaEmphasis": 0.255,
    "glszm_LargeAreaEmphasis": 550,
    "glszm_ZonePercentage": 0.0676,
    "ngtdm_Coarseness": 0.0296,
    "ngtdm_Contrast": 0.584,
    "ngtdm_Busyness": 6.54,
    "ngtdm_Complexity": 13.5,
    "ngtdm_Strength": 0.763,
}
"""Its reference values: 3-D, GLCM averaged over directions."""


def test_texture_of_the_ibsi_phantom_has_the_reference_values():
    levels = np.array([[row.split() for row in z.split("/")] for z in IBSI.split("\n")[1:-1]], int)
    assert (levels > 0).sum() == 74
    # the preset's bins are 25 HU wide: 25 x level falls into bin `level`
    values = np.pad(25.0 * levels, 8, mode="reflect").astype(np.float32)
    image = sitk.GetImageFromArray(values)
    mask = sitk.GetImageFromArray(np.pad((levels > 0).astype(np.uint8), 8))
    names, found = extract_roi(image, mask, NAME, EXPECTED)
    features = dict(zip(names, found, strict=True))
    for name, value in IBSI_VALUES.items():
        scale = {"Mean": 25, "Variance": 25**2}.get(name.split("_")[1], 1)
        scale = scale if name.startswith("firstorder") else 1
        assert features[f"original_{name}"] / scale == pytest.approx(value, rel=5e-3), name


def test_feature_names_are_known_without_a_patient(features):
    assert feature_names(NAME, EXPECTED) == tuple(features)


def test_nothing_is_logged_or_warned_and_the_process_is_left_as_it_was(small, caplog, capfd):
    before = (
        sitk.ProcessObject.GetGlobalDefaultNumberOfThreads(),
        sitk.ProcessObject.GetGlobalDefaultCoordinateTolerance(),
        logging.getLogger("radiomics").level,
    )
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        extract(*small, NAME, EXPECTED)
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")
    assert before == (
        sitk.ProcessObject.GetGlobalDefaultNumberOfThreads(),
        sitk.ProcessObject.GetGlobalDefaultCoordinateTolerance(),
        logging.getLogger("radiomics").level,
    )


def test_an_installation_without_lbp_is_refused_with_the_remedy(small, monkeypatch):
    monkeypatch.setitem(sys.modules, "trimesh.creation", None)
    with pytest.raises(StudyError) as caught:
        extract(*small, NAME, EXPECTED)
    assert not isinstance(caught.value, PatientError)
    assert str(caught.value) == (
        "installation: PyRadiomics gives 1561 features instead of 1834: LBP-3D is missing -> "
        'install trimesh and "scipy>=1.13,<1.17" beside pyradiomics-bhklab 3.1.4'
    )


def test_another_expected_number_is_refused(small):
    with pytest.raises(StudyError, match="gives 1834 features, the study expects 1800"):
        extract(*small, NAME, 1800)


@pytest.mark.parametrize("name", ["radiomics-1", "../radiomics-1834", "", "a/b", "paper"])
def test_unknown_settings_are_refused_and_never_lead_out_of_the_folder(small, name):
    with pytest.raises(InputError, match=r"no radiomics settings called .* radiomics-1834"):
        extract(*small, name, EXPECTED)


def test_an_roi_of_one_voxel_is_the_patients_problem(small):
    image = sitk.ReadImage(str(small[0]))
    dot = np.zeros((40, 40, 40), dtype=np.uint8)
    dot[20, 20, 20] = 1
    mask = sitk.GetImageFromArray(dot)
    mask.CopyInformation(image)
    with pytest.raises(PatientError, match=r"^roi\.nii: no features: mask only contains 1 segm"):
        extract_roi(image, mask, NAME, EXPECTED, where="roi.nii")


def test_an_image_too_small_for_the_filters_is_the_patients_problem():
    values = np.random.default_rng(0).normal(40, 60, (3, 20, 20)).astype(np.float32)
    image = sitk.GetImageFromArray(values)
    mask = sitk.GetImageFromArray(np.ones((3, 20, 20), dtype=np.uint8))
    with pytest.raises(PatientError, match="too small for the LoG filter"):
        extract_roi(image, mask, NAME, EXPECTED, where="roi.nii")


def test_csv_holds_one_line_of_exact_values(tmp_path):
    values = np.array([1 / 3, 1e-17, -125.0])
    to_csv(tmp_path / "out.csv", ("a", "b", "c"), values)
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["a", "b", "c"] and len(rows) == 2
    np.testing.assert_array_equal([float(v) for v in rows[1]], values)


def test_the_tool_is_set_up_once_a_process(small, monkeypatch):
    first = extract(*small, NAME, EXPECTED)

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("set up again")

    monkeypatch.setattr(extraction, "FastExtractor", fail)
    again = extract(*small, NAME, EXPECTED)
    assert again[0] == first[0]
    np.testing.assert_array_equal(again[1], first[1])
