"""A copy holds the voxels that a study reads, else air; results are the same, bit by bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from pydicom.uid import ExplicitVRBigEndian, JPEGLSLossless

from client.imaging.crops import crop2d, crop3d
from client.imaging.dicom.series import survey_series
from client.imaging.errors import PatientError
from client.imaging.preprocess import preprocess
from client.imaging.radiomics.extraction import extract_roi
from client.imaging.reading import read_image, read_mask
from client.importing import copying
from client.importing.copying import IMAGE, MASK, clear_staged, copy_patient, staged
from client.importing.pairing import Pair, images_by_person
from client.importing.pseudonyms import Pseudonyms
from client.importing.survey import survey_export
from common.study.model import Study
from tests import builders
from tests.fixtures.archive import Scan, body, ellipses, person

NAMES = Pseudonyms(bytes(32))
SHAPE = (60, 160, 170)
CONTOUR = {"GTV": ellipses((80.3, 71.7), 6, range(26, 34))}


def study(settings: str = "radiomics-original", **imaging: object) -> Study:
    return builders.study(
        base_models=["radiomics", "dl2d", "dl3d"],
        radiomics={"settings": settings},
        imaging={"crop2d_size": 32, "crop3d_size": 24, **imaging},
    )


def wide(**settings: object) -> Scan:
    return Scan(person(1), body(1, SHAPE), spacing=(1.5, 0.8, 0.8), **settings)


def pair_of(export: Path) -> Pair:
    (own,) = images_by_person(survey_export(export), "PatientID", ()).values()
    (pair,) = own.pairs
    return pair


def copied(scan: Scan, root: Path, own: Study, seg: bool = False) -> copying.Copied:
    scan.write(root / "export" / "ct")
    if seg:
        inside = np.zeros(scan.hu.shape, dtype=bool)
        inside[27:33, 66:78, 74:87] = scan.hu[27:33, 66:78, 74:87] > 20
        scan.seg(root / "export" / MASK, {"GTV": inside})
    else:
        scan.rtstruct(root / "export" / MASK, CONTOUR)
    return copy_patient({"r1": pair_of(root / "export")}, "P-b", NAMES, own, root / "copy")


def results(folder: Path, own: Study) -> list[np.ndarray]:
    """Return crops and features."""
    image = read_image(folder / IMAGE)
    mask = read_mask(folder / MASK, image)
    near, roi = preprocess(image, mask, own.imaging)
    return [
        crop2d(near, roi, own.imaging),
        crop3d(near, roi, own.imaging),
        *(
            extract_roi(image, mask, own.radiomics.settings, 105, window=window)[1]
            for window in (None, own.imaging)
        ),
    ]


def check_equal(root: Path, own: Study) -> None:
    before, after = results(root / "export", own), results(root / "copy", own)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("spacing", "order"), [(0.6, "window_first"), (1.0, "resample_first"), (3.0, "window_first")]
)
def test_crops_and_features_are_those_of_the_original(tmp_path: Path, spacing, order) -> None:
    own = study(spacing_mm=spacing, order=order)
    done = copied(wide(), tmp_path, own)
    assert done.kept < 0.75
    check_equal(tmp_path, own)


def test_voxels_beyond_all_filters_are_air_and_their_slices_stay(tmp_path: Path) -> None:
    scan = wide()
    face = scan.hu.copy()
    face[:, :12] = 777
    scan.hu = face
    copied(scan, tmp_path, study())
    image = sitk.GetArrayFromImage(read_image(tmp_path / "copy" / IMAGE))
    assert image.shape == SHAPE
    assert (image[:, :12] == -1000).all()
    assert (sitk.GetArrayFromImage(read_image(tmp_path / "export" / IMAGE))[:, :12] == 777).all()


def test_one_voxel_less_would_change_a_result(tmp_path: Path, monkeypatch) -> None:
    keep = copying.kept_voxels

    def less(masks, survey, own):
        found = keep(masks, survey, own).copy()
        at = sitk.GetArrayViewFromImage(masks[0]) > 0
        rows = np.flatnonzero(at.any(axis=(0, 2)))
        found[:, : rows[0] - 8] = False
        return found

    monkeypatch.setattr(copying, "kept_voxels", less)
    own = study()
    copied(wide(), tmp_path, own)
    with pytest.raises(AssertionError):
        check_equal(tmp_path, own)


def test_a_segmentation_is_written_anew_with_the_same_mask(tmp_path: Path) -> None:
    own = study()
    copied(wide(), tmp_path, own, seg=True)
    check_equal(tmp_path, own)
    made = pydicom.dcmread(tmp_path / "copy" / MASK)
    assert [one.SegmentLabel for one in made.SegmentSequence] == ["ROI"]
    assert made.ReferencedSeriesSequence[0].SeriesInstanceUID == NAMES.uid(pair_uid(tmp_path))


def pair_uid(root: Path) -> str:
    return pair_of(root / "export").series.uid


class Stored(Scan):
    """A scan whose slices are stored in another way."""

    change = staticmethod(lambda made, k: None)

    def slice(self, k: int) -> pydicom.FileDataset:
        made = super().slice(k)
        self.change(made, k)
        return made


def signed(made: pydicom.FileDataset, k: int) -> None:
    values = np.frombuffer(made.PixelData, np.uint16).astype(np.int16) - 1024
    made.PixelRepresentation, made.BitsStored, made.HighBit = 1, 16, 15
    made.RescaleIntercept, made.PixelData = 0, values.tobytes()


def rescaled_by_slice(made: pydicom.FileDataset, k: int) -> None:
    values = np.frombuffer(made.PixelData, np.uint16) + np.uint16(k % 3)
    made.RescaleIntercept, made.PixelData = -1024 - k % 3, values.tobytes()


def compressed(made: pydicom.FileDataset, k: int) -> None:
    made.compress(JPEGLSLossless, encoding_plugin="pyjpegls", generate_instance_uid=False)


def big_endian(made: pydicom.FileDataset, k: int) -> None:
    pass  # a file is written so, see below


def write_big_endian(path: Path) -> None:
    made = pydicom.dcmread(path)
    made.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    made.PixelData = np.frombuffer(made.PixelData, np.uint16).byteswap().tobytes()
    pydicom.dcmwrite(path, made, implicit_vr=False, little_endian=False, overwrite=True)


def overlaid(made: pydicom.FileDataset, k: int) -> None:
    made.add_new(0x60000100, "US", 16)
    made.add_new(0x60000102, "US", 13)
    values = np.frombuffer(made.PixelData, np.uint16) | np.uint16(1 << 13)
    made.PixelData = values.tobytes()


def turned(made: pydicom.FileDataset, k: int) -> None:
    made.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]


@pytest.mark.parametrize(
    "change", [signed, rescaled_by_slice, compressed, big_endian, overlaid, turned]
)
def test_slices_stored_in_any_way_give_the_same(tmp_path: Path, change) -> None:
    scan = Stored(person(1), body(1, SHAPE), spacing=(1.5, 0.8, 0.8))
    scan.change = change
    own = study()
    for path in scan.write(tmp_path / "export" / "ct"):
        if change is big_endian:
            write_big_endian(path)
    if change is turned:
        scan.spacing = (1.5, -0.8, -0.8)
    scan.rtstruct(tmp_path / "export" / MASK, CONTOUR)
    done = copy_patient({"r1": pair_of(tmp_path / "export")}, "P-b", NAMES, own, tmp_path / "copy")
    assert done.kept < 1
    check_equal(tmp_path, own)
    for path in (tmp_path / "copy" / IMAGE).iterdir():
        stored = np.frombuffer(pydicom.dcmread(path).PixelData, np.uint16)
        assert change is signed or stored.max() < 1 << 12, "no overlay is left in the pixels"


def test_a_study_without_resampling_keeps_all_voxels(tmp_path: Path, monkeypatch) -> None:
    scan = wide()
    scan.write(tmp_path / "ct")
    scan.rtstruct(tmp_path / "rt", CONTOUR)
    image = read_image(tmp_path / "ct")
    mask = read_mask(tmp_path / "rt", image)
    tool = copying.extraction.tool_of("radiomics-original", "fast")
    monkeypatch.setitem(tool.resampling, "resampledPixelSpacing", None)
    assert copying.kept_voxels([mask], survey_series(tmp_path / "ct"), study()).all()


def test_a_series_with_a_missing_slice_is_refused_as_the_study_would(tmp_path: Path) -> None:
    scan = wide()
    scan.write(tmp_path / "export" / "ct")
    (tmp_path / "export" / "ct" / f"IM{(10 * 7) % 1000:04d}").unlink()
    scan.rtstruct(tmp_path / "export" / MASK, CONTOUR)
    with pytest.raises(PatientError, match="missing or unevenly spaced"):
        copy_patient({"r1": pair_of(tmp_path / "export")}, "P-b", NAMES, study(), tmp_path / "copy")


def test_a_small_roi_in_a_large_image_leaves_enough_to_know_hounsfield_units(
    tmp_path: Path, monkeypatch
) -> None:
    scan = Scan(person(1), body(1, (40, 200, 200)), spacing=(5.0, 1.0, 1.0))
    scan.write(tmp_path / "ct")
    scan.rtstruct(tmp_path / "rt", {"GTV": ellipses((100, 100), 3, range(20, 23))})
    image = read_image(tmp_path / "ct")
    mask = read_mask(tmp_path / "rt", image)

    def share() -> float:
        kept = copying.kept_voxels([mask], survey_series(tmp_path / "ct"), study())
        return float(kept.mean())

    natural = share()
    assert copying.LEAST_KEPT < natural < 0.3
    monkeypatch.setattr(copying, "LEAST_KEPT", 0.3)
    assert 0.3 <= share() < 0.45


def test_a_copy_stays_until_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the disk refuses the last step: the archive may not have the patient any more."""
    folder = tmp_path / "P-b"
    folder.mkdir()
    (folder / "x").write_text("old")
    with pytest.raises(PatientError), staged(folder) as part:
        (part / "x").write_text("new")
        raise PatientError("it broke off")
    assert (folder / "x").read_text() == "old"
    rename = Path.rename
    monkeypatch.setattr(
        *(Path, "rename"),
        lambda own, to: no_room() if own.name.startswith(".part-") else rename(own, to),
    )
    with pytest.raises(OSError, match="no room"), staged(folder) as part:
        (part / "x").write_text("new")
    monkeypatch.undo()
    assert (folder / "x").read_text() == "old"
    with staged(folder) as part:
        (part / "x").write_text("new")
    assert (folder / "x").read_text() == "new"
    assert [one.name for one in tmp_path.iterdir()] == ["P-b"]


def no_room() -> None:
    raise OSError("no room")


def test_what_an_import_left_that_was_killed_is_put_back_or_removed(tmp_path: Path) -> None:
    for name in (".old-P-b", ".part-P-b", ".old-P-c", "P-c", ".part-P-d"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text(name)
    clear_staged(tmp_path)
    assert {one.name: (one / "x").read_text() for one in tmp_path.iterdir()} == {
        "P-b": ".old-P-b",
        "P-c": "P-c",
    }
