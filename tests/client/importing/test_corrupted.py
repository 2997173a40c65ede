"""Random damage to an export and to a table: the same numbers or a finding, never a traceback.

DICOM has no checksum: a digit that turned into another digit, or a pixel, is beyond anybody. All
other damage is drawn here: files cut, blocks and elements lost, bytes that are no digits.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openpyxl
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by

from client.imaging.reading import PatientError, read_image, read_mask
from client.importing.pairing import images_by_person
from client.importing.survey import survey_export
from client.importing.table import read_hospital_table
from common.errors import InputError
from tests.fixtures.archive import Scan, body, ellipses, person

Change = Callable[[random.Random, Path], None]
SEEDS = range(40)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    scan = Scan(person(1), body(1, (7, 20, 22)))
    scan.write(folder / "ct")
    scan.rtstruct(folder / "rt" / "RS1", {"GTV": ellipses((10, 9), 4, range(2, 5))})
    return folder


def measured(folder: Path) -> tuple[object, ...] | None:
    """Return voxels and place of the ROI of an export; None where there is a finding."""
    found = survey_export(folder)
    images = images_by_person(found, "PatientID", ("GTV",))
    (own,) = images.values() if len(images) == 1 else (None,)
    if found.broken or own is None or len(own.pairs) != 1:
        return None
    (pair,) = own.pairs
    try:
        image = read_image(pair.series.slices[0].path.parent)
        mask = read_mask(Path(f"{pair.contours.stored.path}#GTV"), image)
    except PatientError as error:
        assert error.remedy
        return None
    inside = sitk.GetArrayFromImage(mask) > 0
    values = sitk.GetArrayFromImage(image)[inside]
    return image.GetSpacing(), np.flatnonzero(inside).tobytes(), values.tobytes()


def cut(rng: random.Random, path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(len(data))])


def lose_a_block(rng: random.Random, path: Path) -> None:
    """Overwrite a block of the header by zeros, as a bad sector does."""
    data = bytearray(path.read_bytes())
    start = rng.randrange(len(data) - 900)
    data[start : start + rng.randint(4, 64)] = bytes(min(64, rng.randint(4, 64)))
    path.write_bytes(data)


def spoil_bytes(rng: random.Random, path: Path) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(len(data) - 900)] = rng.choice([0xFF, 0xE4, 0x5C, 0x01, 0x58])
    path.write_bytes(data)


def elements(read: pydicom.Dataset) -> list[tuple[pydicom.Dataset, pydicom.DataElement]]:
    """Return all elements but pixels, each with the data set that holds it."""
    found = []
    for one in read:
        if one.keyword != "PixelData":
            found.append((read, one))
        for item in one.value if one.VR == "SQ" else ():
            found += elements(item)
    return found


def lose_an_element(rng: random.Random, path: Path) -> None:
    read = pydicom.dcmread(path)
    holder, element = rng.choice(elements(read))
    del holder[element.tag]
    read.save_as(path)


def empty_an_element(rng: random.Random, path: Path) -> None:
    read = pydicom.dcmread(path)
    holder, element = rng.choice(elements(read))
    holder[element.tag].value = None
    read.save_as(path)


def swap_two_texts(rng: random.Random, path: Path) -> None:
    read = pydicom.dcmread(path)
    texts = [one for _, one in elements(read) if one.VR in ("LO", "SH", "CS", "UI")]
    one, other = rng.sample(texts, 2)
    one.value, other.value = other.value, one.value
    read.save_as(path)


def lengthen_an_item(rng: random.Random, path: Path) -> None:
    """Let an item of a sequence reach into the next one, as a flipped bit of its length does."""
    data = bytearray(path.read_bytes())
    marks = [at for at in range(len(data) - 8) if data[at : at + 4] == b"\xfe\xff\x00\xe0"]
    at = rng.choice(marks) + 4
    length = int.from_bytes(data[at : at + 4], "little")
    data[at : at + 4] = (length + rng.randint(4, 90)).to_bytes(4, "little")
    path.write_bytes(data)


def lose_a_file(rng: random.Random, path: Path) -> None:
    path.unlink()


DAMAGE: tuple[Change, ...] = (
    *(cut, lose_a_block, spoil_bytes, lose_an_element, empty_an_element),
    *(swap_two_texts, lose_a_file, lengthen_an_item),
)


@pytest.mark.filterwarnings("ignore:.*alue.*for VR.*:UserWarning")
def test_a_damaged_export_gives_the_same_numbers_or_a_finding(export: Path, tmp_path: Path) -> None:
    whole = measured(export)
    assert whole is not None
    outcomes = {True: 0, False: 0}
    for seed in SEEDS:
        rng = random.Random(seed)  # noqa: S311 - draws damage, no secret
        folder = tmp_path / str(seed)
        shutil.copytree(export, folder)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        inner = [path for path in files if path.name not in ("IM0000", "IM0042")]
        harm = DAMAGE[seed % len(DAMAGE)]
        # contours are one file among many slices, and as likely to be damaged here
        harm(rng, rng.choice([files[-1], rng.choice(inner)]))
        found = measured(folder)
        assert found in (whole, None), f"seed {seed}, {harm.__name__}: other numbers, not a word"
        outcomes[found is None] += 1
        shutil.rmtree(folder)
    assert min(outcomes.values()) > 3, "damage that matters, and damage that does not"


def test_a_damaged_workbook_gives_the_same_cells_or_one_sentence(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["id", "pn", "age"], ["7", "ja", 61.5], ["8", "nein", 44], ["9", "ja", 70.25]):
        book.active.append(row)
    path = tmp_path / "t.xlsx"
    book.save(path)
    whole, cells = path.read_bytes(), read_hospital_table(path).to_numpy().tolist()
    refused = 0
    for seed in range(60):
        rng = random.Random(seed)  # noqa: S311 - draws damage, no secret
        data = bytearray(whole)
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data[: rng.choice([len(data), rng.randrange(len(data))])])
        try:
            assert read_hospital_table(path).to_numpy().tolist() == cells, f"seed {seed}"
        except InputError as error:
            assert error.remedy
            refused += 1
    assert 0 < refused < 60
