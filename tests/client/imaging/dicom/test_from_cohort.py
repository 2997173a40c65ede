"""DICOM all the way from cohort.csv to crops, features and what is said of a bad patient."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.uid import generate_uid

from client.data.cohort import read_cohort
from client.imaging.cache import ContentCache
from client.imaging.patient import reading_gib
from client.imaging.preparation import PatientJob, Preparation, prepare
from common.study.model import ImagingSettings
from tests import builders

LARGE = [(3.5, 2.5), (15.5, 2.5), (15.5, 12.5), (3.5, 12.5)]
SMALL = [(17.5, 4.5), (21.5, 4.5), (21.5, 8.5), (17.5, 8.5)]


@pytest.fixture
def data(tmp_path, ct):
    rois = {
        "GTV": [ct.contour(k, LARGE) for k in (1, 2, 3)],
        "node": [ct.contour(k, SMALL) for k in (1, 2, 3)],
    }
    ct.rtstruct(tmp_path / "rt.dcm", rois)
    return tmp_path


def prepared(jobs: list[PatientJob], cache: ContentCache) -> Preparation:
    return prepare(
        jobs,
        imaging=ImagingSettings(crop2d_size=32, crop3d_size=24),
        radiomics=None,
        cache=cache,
        workers=1,
        memory_gib=4.0,
    )


def jobs_of(data, rows: list[str]) -> list[PatientJob]:
    lines = ["patient_id,label,split,image,mask", *rows]
    (data / "cohort.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    cohort = read_cohort(data, "a", builders.study(base_models=["dl3d"]))
    assert not cohort.problems
    return [PatientJob(p.patient_id, p.image, p.masks) for p in cohort.patients]


def test_the_rois_of_one_file_are_kept_apart(data):
    jobs = jobs_of(data, ["p1,0,train,ct,rt.dcm#GTV", "p2,1,train,ct,rt.dcm#node"])
    made = prepared(jobs, ContentCache(data / "cache"))
    assert made.problems == ()
    large, small = made.crops3d(["p1", "p2"])
    assert made.crop_keys["p1"] != made.crop_keys["p2"] and not np.array_equal(large, small)


def test_the_series_of_one_folder_are_kept_apart(data, ct):
    thin = generate_uid()
    for k in range(3):
        ct.write(ct.folder / f"thin{k}", k, SeriesInstanceUID=thin)
    rows = [f"p1,0,train,ct/{ct.slice(0).name},rt.dcm#GTV", "p2,1,train,ct/thin0,rt.dcm#GTV"]
    jobs = jobs_of(data, rows)
    made = prepared(jobs, ContentCache(data / "cache"))
    assert list(made.crop_keys) == ["p1"], "the contours are those of the first series"
    assert [str(problem) for problem in made.problems] == [
        "p2: rt.dcm: the contours were drawn on another series "
        "-> give the series that the contours were drawn on"
    ]
    assert reading_gib(jobs[0].image) == reading_gib(ct.folder) > 0.3


def test_a_changed_slice_makes_the_crops_anew_when_one_file_names_the_series(data, ct):
    row = [f"p1,0,train,ct/{ct.slice(0).name},rt.dcm#GTV"]
    before = prepared(jobs_of(data, row), ContentCache(data / "cache")).crop_keys["p1"]
    ct.change(2, RescaleIntercept=-1000)
    after = prepared(jobs_of(data, row), ContentCache(data / "cache")).crop_keys["p1"]
    assert before != after


def test_a_bad_patient_is_named_without_what_the_files_say_of_the_person(data, ct):
    rows = ["p1,0,train,ct,rt.dcm", "p2,1,train,ct,rt.dcm#tumour", "p3,1,train,ct,ct"]
    made = prepared(jobs_of(data, rows), ContentCache(data / "cache"))
    reported = [str(problem) for problem in made.problems]
    assert [text.split(":")[0] for text in reported] == ["p1", "p2", "p3"]
    assert '("GTV", "node")' in reported[0] and 'no ROI "tumour"' in reported[1]
    assert "a folder instead of a mask" in reported[2]
    assert not any(word in text for text in reported for word in ("Secret", "SECRET", "19010203"))


def test_a_missing_file_is_found_before_any_image_is_read(data):
    lines = ["patient_id,label,split,image,mask", "p1,0,train,ct,none.dcm#GTV"]
    (data / "cohort.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    problem = read_cohort(data, "a", builders.study(base_models=["dl3d"])).problems[0]
    assert problem.what == "missing file none.dcm#GTV"
