"""The phantom is reproducible, has the paper's case mix, and carries signal below its ceiling."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy.stats import norm, rankdata

from common.disclosure.differencing import check_test_sets_apart
from common.errors import UsageError
from common.study.model import load_study, parse_study
from common.study.sums import check_maskable
from sim.phantom.anatomy import Tumour, scan
from sim.phantom.clinical import COLUMNS, COUNTS, LEVELS, bayes_auc, clinical_row, latent_of
from sim.phantom.generate import (
    DEFAULT,
    FILE_COLUMNS,
    READINGS,
    SMALL,
    PhantomPlan,
    ceilings,
    generate,
    split_of,
    study_text,
    tumour_of,
)
from sim.phantom.plan import HospitalPlan, Scanner, with_scanner_shift

SCANNER = Scanner(pixel_mm=1.0, slice_mm=2.0, kernel_mm=0.7, noise_hu=8.0, offset_hu=0.0)
TINY = PhantomPlan(
    name="tiny",
    hospitals=(
        HospitalPlan("a", SCANNER, "training", 0.5, train=3, internal_test=1, repeat_readings=1),
        HospitalPlan("b", SCANNER, "external1", 0.5, external_test=2),
    ),
    external_sets=(("external_1", ("b",)),),
    radius_mm=(5.0, 6.0),
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantom")
    generate(out, seed=3, plan=TINY, workers=1)
    return out


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def auc(label: np.ndarray, value: np.ndarray) -> float:
    ranks = rankdata(value)
    positives = int(label.sum())
    negatives = len(label) - positives
    u = ranks[label == 1].sum() - positives * (positives + 1) / 2
    return float(u / (positives * negatives))


def test_cohort_has_the_declared_columns_and_splits(tiny: Path) -> None:
    rows = rows_of(tiny / "a" / "cohort.csv")
    assert tuple(rows[0]) == FILE_COLUMNS + COLUMNS
    assert [row["split"] for row in rows] == ["train", "train", "train", "internal_test"]
    assert {row["split"] for row in rows_of(tiny / "b" / "cohort.csv")} == {"external_test"}


def test_only_the_patients_with_repeat_readings_name_them(tiny: Path) -> None:
    first, *others = rows_of(tiny / "a" / "cohort.csv")
    for reading in set(READINGS) - {"r1"}:
        assert (tiny / "a" / first[f"mask_{reading}"]).is_file()
        assert all(row[f"mask_{reading}"] == "" for row in others)


def test_images_are_ct_with_the_scanners_spacing_and_masks_on_the_same_grid(tiny: Path) -> None:
    row = rows_of(tiny / "a" / "cohort.csv")[0]
    image = sitk.ReadImage(str(tiny / "a" / row["image"]))
    assert image.GetPixelID() == sitk.sitkInt16
    assert image.GetSpacing() == pytest.approx((1.0, 1.0, 2.0))
    assert sitk.GetArrayFromImage(image).min() < -500  # the airway
    masks = [row["mask"], *(row[f"mask_{r}"] for r in READINGS if r != "r1")]
    for name in masks:
        mask = sitk.ReadImage(str(tiny / "a" / name))
        assert mask.GetSize() == image.GetSize()
        assert mask.GetOrigin() == pytest.approx(image.GetOrigin())
        array = sitk.GetArrayFromImage(mask)
        assert set(np.unique(array)) == {0, 1}
        edges = [array[0], array[-1], array[:, 0], array[:, -1], array[:, :, 0], array[:, :, -1]]
        assert not any(edge.any() for edge in edges)


def test_study_file_is_valid_and_names_hospitals_and_sets(tiny: Path) -> None:
    study = load_study(tiny / "study.toml")
    assert study.site_names == ("a", "b")
    assert study.training_sites == ("a",)
    assert [(t.name, t.split, t.sites) for t in study.test_sets] == [
        ("internal", "internal_test", ("a",)),
        ("external_1", "external_test", ("b",)),
    ]
    assert tuple(column.name for column in study.clinical) == COLUMNS
    assert study.seed == 3
    assert study.imaging.crop3d_size >= study.dl3d.input_size
    assert study.imaging.crop2d_size >= study.dl2d.input_size


def test_study_of_a_plan_may_shorten_the_networks_training() -> None:
    quick, whole = (parse_study(study_text(plan, 1)) for plan in (SMALL, DEFAULT))
    assert quick.dl2d.rounds == quick.dl3d.rounds == SMALL.rounds
    assert whole.dl3d.rounds > quick.dl3d.rounds
    assert quick.dl3d.model_copy(update={"rounds": whole.dl3d.rounds}) == whole.dl3d


def test_a_study_of_enough_patients_declares_what_it_is_made_to_answer() -> None:
    quick, whole = (parse_study(study_text(plan, 1)) for plan in (SMALL, DEFAULT))
    assert quick.analysis.primary is None
    primary = whole.analysis.primary
    assert primary is not None
    declared = (primary.model_a, primary.model_b, primary.set)
    assert declared == ("fusion_decision", "clinical", "external_1")


def test_second_call_leaves_the_folder_and_another_phantom_is_refused(tiny: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in tiny.rglob("*")}
    generate(tiny, seed=3, plan=TINY, workers=1)
    assert {path: path.stat().st_mtime_ns for path in tiny.rglob("*")} == before
    with pytest.raises(UsageError, match="holds another phantom study"):
        generate(tiny, seed=4, plan=TINY, workers=1)


def test_patients_do_not_depend_on_workers_or_on_other_patients(tiny: Path, tmp_path: Path) -> None:
    one, two = TINY.hospitals
    larger = dataclasses.replace(one, train=4, internal_test=2)
    plan = dataclasses.replace(TINY, hospitals=(two, larger))
    calls: list[tuple[int, int]] = []
    generate(tmp_path, seed=3, plan=plan, workers=2, progress=lambda _, d, n: calls.append((d, n)))
    assert calls == [(done, 8) for done in range(1, 9)]
    for before, after in zip(
        rows_of(tiny / "a" / "cohort.csv")[:3], rows_of(tmp_path / "a" / "cohort.csv"), strict=False
    ):
        assert before == after
        for column in ("image", "mask"):
            old = sitk.GetArrayFromImage(sitk.ReadImage(str(tiny / "a" / before[column])))
            new = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a" / after[column])))
            assert np.array_equal(old, new)


def test_record_holds_seed_plan_and_ceiling(tiny: Path) -> None:
    record = json.loads((tiny / "phantom.json").read_text())
    assert record["seed"] == 3
    assert record["plan"]["name"] == "tiny"
    assert record["ceiling"] == ceilings(3, TINY)
    assert set(record["ceiling"]) == {"train", "internal", "external_1"}


@pytest.mark.parametrize("seed", [20240101, 1, 2])
def test_ceiling_is_where_the_plan_puts_it(seed: int) -> None:
    theory = float(norm.cdf(DEFAULT.separation / math.sqrt(2.0)))
    found = ceilings(seed, DEFAULT)
    assert 0.86 < theory < 0.92
    assert found["train"] == pytest.approx(theory, abs=0.03)
    assert found["external_1"] == pytest.approx(theory, abs=0.05)
    assert found["external_2"] == pytest.approx(theory, abs=0.05)


def test_bayes_auc_is_the_mann_whitney_statistic() -> None:
    rng = np.random.default_rng(0)
    label, value = rng.integers(0, 2, 50), rng.normal(size=50)
    assert bayes_auc(label, value) == pytest.approx(auc(label, value))
    assert bayes_auc(np.zeros(3, dtype=np.int64), value[:3]) is None


@pytest.mark.parametrize("plan", [DEFAULT, SMALL])
def test_every_training_hospital_has_both_classes_in_every_split(plan: PhantomPlan) -> None:
    for hospital in plan.hospitals:
        labels: dict[str, list[int]] = {}
        for index in range(hospital.patients):
            latent = latent_of(1, plan, hospital, index)
            labels.setdefault(split_of(hospital, index), []).append(latent.label)
        for split, found in labels.items():
            fewest = 5 if split == "train" else 3
            assert min(sum(found), len(found) - sum(found)) >= fewest, (hospital.name, split)


def test_case_mix_is_table_1_of_the_paper() -> None:
    hospital = dataclasses.replace(DEFAULT.hospitals[0], train=1500)
    plan = dataclasses.replace(DEFAULT, missing_share=0.0)
    rows = [
        clinical_row(5, plan, hospital, index, diameter_cm=2.0, necrosis=0.0)
        for index in range(1500)
    ]
    # `enhancement` also follows the tumour's necrosis, which is held at zero here
    for column in set(LEVELS) - {"enhancement"}:
        counts = np.array(COUNTS["training"][column])
        found = np.array([sum(row[column] == level for row in rows) for level in LEVELS[column]])
        np.testing.assert_allclose(found / 1500, counts / counts.sum(), atol=0.04)


def test_t_stage_follows_the_label_and_sex_does_not() -> None:
    hospital = dataclasses.replace(DEFAULT.hospitals[0], train=1500)
    rows = [
        clinical_row(5, DEFAULT, hospital, index, diameter_cm=2.0, necrosis=0.0)
        for index in range(1500)
    ]
    label = np.array([latent_of(5, DEFAULT, hospital, index).label for index in range(1500)])
    stage = np.array([("", *LEVELS["t_stage"]).index(row["t_stage"]) for row in rows])
    sex = np.array([row["sex"] == "male" for row in rows])
    assert 0.58 < auc(label, stage) < 0.75
    assert 0.45 < auc(label, sex) < 0.55
    missing = np.mean([cell == "" for row in rows for cell in row.values()])
    assert 0.005 < missing < 0.02


def test_image_traits_follow_the_latent() -> None:
    hospital = dataclasses.replace(DEFAULT.hospitals[1], train=400)
    tumours = [tumour_of(2, DEFAULT, hospital, index) for index in range(400)]
    latent = [latent_of(2, DEFAULT, hospital, index).standardised for index in range(400)]
    for name in ("roughness", "texture", "necrosis", "enhancement"):
        values = [getattr(tumour, name) for tumour in tumours]
        found = np.corrcoef(values, latent)[0, 1]
        assert found == pytest.approx(DEFAULT.image_fidelity, abs=0.05), name
    radii = np.array([tumour.radius_mm for tumour in tumours])
    assert radii.min() >= DEFAULT.radius_mm[0]
    assert radii.max() <= DEFAULT.radius_mm[1]


def test_an_aggressive_tumour_is_rougher_and_more_heterogeneous() -> None:
    def draw(level: float) -> tuple[float, float]:
        tumour = Tumour(7.0, roughness=level, texture=level, necrosis=0.0, enhancement=0.0)
        found = scan(np.random.default_rng(4), tumour, SCANNER, {"r1": 0.0})
        mask = found.masks["r1"] > 0
        surface = sum(int(np.abs(np.diff(mask.astype(int), axis=axis)).sum()) for axis in range(3))
        return surface / mask.sum() ** (2 / 3), float(found.image[mask].std())

    smooth, rough = draw(-1.5), draw(1.5)
    assert rough[0] > 1.1 * smooth[0]
    assert rough[1] > 1.1 * smooth[1]


def test_readings_agree_and_differ() -> None:
    tumour = Tumour(7.0, 0.0, 0.0, 0.0, 0.0)
    masks = scan(np.random.default_rng(1), tumour, SCANNER, READINGS).masks
    first = masks["r1"]
    for name in set(READINGS) - {"r1"}:
        other = masks[name]
        dice = 2 * (first & other).sum() / (first.sum() + other.sum())
        assert 0.85 < dice < 1.0, name


@pytest.mark.parametrize("plan", [DEFAULT, SMALL], ids=["default", "small"])
def test_the_study_of_a_phantom_may_be_run_as_it_is(plan: PhantomPlan) -> None:
    study = parse_study(study_text(plan, 1))
    check_maskable(study, where="study.toml")
    check_test_sets_apart(study, where="study.toml")
    assert study.privacy.masking == "required"
    assert study.masked("train")
    assert all(study.masked(test.name) for test in study.test_sets if len(test.sites) > 1)


def test_one_external_set_is_spread_and_masked_and_the_other_is_one_hospitals() -> None:
    study = parse_study(study_text(DEFAULT, 1))
    assert study.masked("external_1")
    assert study.members("external_2") == ("harbour",)


def test_every_external_hospital_may_tell_the_measures_of_its_own_patients() -> None:
    privacy = parse_study(study_text(DEFAULT, 1)).privacy
    for hospital in (h for h in DEFAULT.hospitals if h.external_test):
        labels = [latent_of(1, DEFAULT, hospital, i).label for i in range(hospital.patients)]
        assert len(labels) >= privacy.min_rows, hospital.name
        fewer = min(sum(labels), len(labels) - sum(labels))
        assert fewer >= privacy.min_per_class, hospital.name


def test_scanners_move_apart_about_their_mean_and_patients_stay() -> None:
    far, alike = with_scanner_shift(SMALL, 3.0), with_scanner_shift(SMALL, 0.0)
    assert with_scanner_shift(SMALL, 1.0) is SMALL

    def offsets(plan: PhantomPlan) -> np.ndarray:
        return np.array([hospital.scanner.offset_hu for hospital in plan.hospitals])

    assert np.ptp(offsets(far)) == pytest.approx(3.0 * np.ptp(offsets(SMALL)))
    assert offsets(far).mean() == pytest.approx(offsets(SMALL).mean())
    assert np.ptp(offsets(alike)) == 0.0
    for plan in (far, alike):
        for one, was in zip(plan.hospitals, SMALL.hospitals, strict=True):
            assert one.scanner.kernel_mm > 0.0 and one.scanner.noise_hu >= 1.0
            assert dataclasses.replace(one, scanner=was.scanner) == was
