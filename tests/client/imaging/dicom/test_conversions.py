"""A DICOM series and its conversions by SimpleITK, in several storage orders, are one scan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by

from client.imaging.crops import crop2d, crop3d
from client.imaging.preprocess import preprocess
from client.imaging.radiomics.extraction import extract_roi
from client.imaging.reading import read_image, read_mask
from common.study.model import ImagingSettings

STS = Path(__file__).parents[5] / "shared" / "data" / "sts" / "dicom" / "STS_002"
CROPS = ImagingSettings(crop3d_size=24, crop2d_size=24)
FORMATS = (".nii", ".nii.gz", ".nrrd", ".mha")
ORDERS = ("LPS", "LAS", "PIR")
Pair = tuple[sitk.Image, sitk.Image]


def by_simpleitk(folder: Path) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def conversions(
    folder: Path, image: sitk.Image, mask: sitk.Image, forms: Iterable[tuple[str, str]]
) -> Iterator[tuple[str, Pair]]:
    """Write image and mask in these orders and formats, and read them again."""
    for order, ending in forms:
        paths = [folder / f"{name}_{order}{ending}" for name in ("ct", "roi")]
        for volume, path in zip((image, mask), paths, strict=True):
            sitk.WriteImage(sitk.DICOMOrient(volume, order), str(path))
        read = read_image(paths[0])
        yield f"{order}{ending}", (read, read_mask(paths[1], read))


def crops_of(pair: Pair) -> list[np.ndarray]:
    near = preprocess(*pair, CROPS)
    return [crop3d(*near, CROPS), crop2d(*near, CROPS)]


def assert_same_scan(found: Pair, series: Pair) -> None:
    for one, other in zip(found, series, strict=True):
        np.testing.assert_array_equal(
            sitk.GetArrayViewFromImage(one), sitk.GetArrayViewFromImage(other)
        )
        assert one.GetSpacing() == other.GetSpacing()
    for crop, expected in zip(crops_of(found), crops_of(series), strict=True):
        np.testing.assert_array_equal(crop, expected)


@pytest.mark.parametrize("spacing", [(0.9, 0.8, 2.5), (0.703125, 0.703125, 3.27)])
@pytest.mark.parametrize(
    "orientation", [(1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, -1), (0.96, 0.28, 0, -0.28, 0.96, 0)]
)
def test_every_conversion_is_the_same_scan(tmp_path, make_series, orientation, spacing):
    ct = series_of(make_series(tmp_path / "ct", orientation), spacing)
    drawn = np.zeros((6, 18, 24), dtype=np.uint8)
    drawn[1:5, 4:13, 5:17], drawn[2:4, 13:16, 8:11] = 1, 1
    image = read_image(ct.folder)
    series = image, read_mask(ct.seg(tmp_path / "seg.dcm", {"GTV": drawn}), image)
    stored = by_simpleitk(ct.folder)
    mask = sitk.GetImageFromArray(drawn)
    mask.CopyInformation(stored)
    names, expected = extract_roi(*series, "radiomics-original", 105)
    for name, found in conversions(tmp_path, stored, mask, product(ORDERS, FORMATS)):
        assert_same_scan(found, series)
        found_names, values = extract_roi(*found, "radiomics-original", 105)
        assert found_names == names
        np.testing.assert_array_equal(values, expected, err_msg=name)


def series_of(ct, spacing):
    """Write the slices again, with other spacings; the first position is a decimal fraction."""
    ct.row_spacing, ct.column_spacing, ct.distance = spacing
    for k in range(6):
        ct.instances[k] = ct.write(ct.slice(k), k)
    return ct


def test_all_1834_features_are_the_same_in_three_formats_and_orders(tmp_path, ct):
    drawn = np.zeros((6, 18, 24), dtype=np.uint8)
    drawn[1:5, 4:13, 5:17], drawn[2:4, 13:16, 8:11] = 1, 1
    image = read_image(ct.folder)
    series = image, read_mask(ct.seg(tmp_path / "seg.dcm", {"GTV": drawn}), image)
    stored = by_simpleitk(ct.folder)
    mask = sitk.GetImageFromArray(drawn)
    mask.CopyInformation(stored)
    names, expected = extract_roi(*series, "radiomics-1834", 1834)
    for name, found in conversions(tmp_path, stored, mask, product(ORDERS, FORMATS[1:])):
        found_names, values = extract_roi(*found, "radiomics-1834", 1834)
        assert found_names == names
        np.testing.assert_array_equal(values, expected, err_msg=name)


@pytest.mark.skipif(
    not STS.is_dir(),
    reason="NOT TESTED: a real series, as shared/data/sts is not beside the project",
)
def test_every_conversion_of_a_real_series_is_the_same_scan(tmp_path):
    image = read_image(STS / "ct")
    series = image, read_mask(STS / "rtstruct.dcm", image)
    names, expected = extract_roi(*series, "radiomics-1834", 1834)
    stored, mask = by_simpleitk(STS / "ct"), series[1]
    forms = zip(ORDERS, FORMATS[1:], strict=True)
    for name, found in conversions(tmp_path, stored, mask, forms):
        assert_same_scan(found, series)
        if name == "LAS.nrrd":  # the others have the same arrays
            found_names, values = extract_roi(*found, "radiomics-1834", 1834)
            assert found_names == names
            np.testing.assert_array_equal(values, expected, err_msg=name)
