"""The site's report of a run that is made up: its counts, and its names."""

from __future__ import annotations

from pathlib import Path

from client.data.cohort import Cohort, Patient
from client.report.site_report import render
from client.report.site_run import SiteRun
from client.site import SiteSettings
from tests import builders

STUDY = builders.study(base_models=["dl3d"])


def patient(number: int, split: str, *words: str) -> Patient:
    files = (Path("ct"), {"r1": Path("rt.dcm")})
    return Patient(f"p{number}", "a", 0, split, -1, {}, *files, confirmed=frozenset(words))


def test_patients_used_on_the_sites_word_are_counted_in_the_sets_of_the_study() -> None:
    word = "frame_of_reference"
    patients = [patient(1, "train", word), patient(2, "train"), patient(3, "internal_test", word)]
    patients.append(patient(4, "external_test", word))  # of no set of this study
    settings = SiteSettings(name="a", workers=1)
    assert SiteRun("run", settings, STUDY, Cohort("a", patients), None, 0).confirmed == 2


NASTY = "<script>alert(1)</script>"


def test_no_name_of_a_hospital_or_patient_becomes_markup(tmp_path: Path) -> None:
    patients = [
        Patient(f"{NASTY}{i}", "a", i % 2, split, i % 2, {"age": 50.0 + i}, None, {})
        for i, split in enumerate(["train"] * 8 + ["internal_test"] * 4)
    ]
    settings = SiteSettings(name="a", workers=1, work=tmp_path)
    study = builders.study(endpoint=NASTY, clinical=[builders.number("age")])
    page = render(SiteRun("run", settings, study, Cohort("a", patients), None, 0))
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 1 + 12
    assert 'id="caption-tsne-clinical"' in page
