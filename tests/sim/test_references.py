from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from client.data.cohort import Patient, assign_folds, read_cohort
from client.site import load_site
from common.disclosure.rule import stricter
from common.errors import InputError
from common.study.model import Study, load_study, write_study
from common.study.strata import dealt_columns
from sim.run import local_study, pool_cohorts, pooled_settings, pooled_study
from sim.sites import data_folder, find_sites, place_sites, write_site
from tests import builders


def test_a_written_study_is_the_same_study(tmp_path: Path) -> None:
    columns = [builders.number("age", decimals=0), builders.number("marker")]
    study = builders.study(clinical=columns, **builders.ALL_MODELS)
    again = load_study(write_study(study, tmp_path / "input" / "study.toml"))
    assert again == study
    assert again.digest() == study.digest()


PRIVACY = {"mode": "faithful", "min_category": 7, "min_rows": 30, "masking": "required"}


def test_references_refuse_nothing_and_keep_what_shapes_the_input() -> None:
    study = builders.study(privacy=PRIVACY)
    pooled, local = pooled_study(study).privacy, local_study(study, "b").privacy
    for reference in (pooled, local):
        assert (reference.min_rows, reference.min_cell, reference.masking) == (1, 0, "off")
        assert reference.min_rank_others == study.privacy.min_rank_others
        assert reference.mode == "faithful"
    assert (pooled.min_category, local.min_category) == (7, 0)
    # folds are dealt within these
    assert (pooled.min_class_per_fold, pooled.min_rows_per_fold) == (3, 5)


def test_the_imagined_hospital_agrees_to_the_mode_and_asks_for_nothing_else(
    tmp_path: Path,
) -> None:
    study = builders.study(privacy=PRIVACY)
    written = write_site(tmp_path, pooled_settings(study, tmp_path, tmp_path / "cache"))
    own = load_site(written).privacy
    reference = pooled_study(study).privacy
    assert stricter(reference, own) == reference
    assert stricter(reference, None).mode == "guarded"


def test_a_hospitals_own_threshold_survives_placing_and_stands_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "site.toml").write_text('name = "a"\n[privacy]\nmin_rows = 40\n', encoding="utf-8")
    (placed,) = place_sites(
        {"a": folder}, tmp_path / "run", tmp_path / "cache", exclude_bad_patients=False
    ).values()
    own = load_site(placed).privacy
    assert own is not None and own.model_fields_set == {"min_rows"}


def test_the_pooled_reference_deals_the_folds_of_the_hospitals(tabular: Path) -> None:
    study = load_study(tabular / "study.toml")
    path = tabular / "a" / "cohort.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [f"  {row.replace(',train,', ', train ,')},b" for row in lines[1:]]
    path.write_text("\n".join([lines[0] + ",origin", *rows, ",0,train,1,60,male,1,b"]) + "\n")
    data = {name: tabular / name for name in "abc"}
    pool_cohorts(data, study, tabular / "pool")
    pooled = read_cohort(tabular / "pool", "pooled", pooled_study(study), pooled=True)
    assert [problem.column for problem in pooled.problems] == ["patient_id"]
    hospitals = {name: read_cohort(folder, name, study) for name, folder in data.items()}
    counted = [level_counts(one.subset(study, "train"), study) for one in hospitals.values()]
    for name, own in hospitals.items():
        dealt = assign_folds(own.patients, study, np.sum(counted, axis=0))
        folds = {p.own_id: p.fold for p in pooled.patients if p.origin == name}
        assert folds == {p.patient_id: p.fold for p in dealt}


def level_counts(patients: list[Patient], study: Study) -> np.ndarray:
    """Count the patients of a hospital with each level, as `LevelTotals` adds them up."""
    columns = dealt_columns(study)
    codes = np.array([[p.clinical[column.name] for column in columns] for p in patients])
    widest = max(len(column.levels) for column in columns)
    return np.array([(codes == level).sum(axis=0) for level in range(widest)]).T


def test_a_hospitals_site_toml_says_where_its_cohort_is(tabular: Path) -> None:
    elsewhere = tabular / "elsewhere"
    (tabular / "a").rename(elsewhere)
    (tabular / "a").mkdir()
    site = tabular / "a" / "site.toml"
    site.write_text('name = "a"\ndata = "../elsewhere"\n', encoding="utf-8")
    study = load_study(tabular / "study.toml")
    found = find_sites([tabular / name for name in "abc"], study)
    assert list(found) == ["a", "b", "c"]
    assert (data_folder(found["a"]) / "cohort.csv").is_file()
    (elsewhere / "cohort.csv").unlink()
    with pytest.raises(InputError, match=r"no cohort.csv in this folder -> .*correct data in"):
        find_sites([tabular / name for name in "abc"], study)
