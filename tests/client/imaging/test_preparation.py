from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by

from client.imaging import cache as cache_module
from client.imaging import patient as patient_module
from client.imaging import preparation as preparation_module
from client.imaging.cache import CROPS_VERSION, ContentCache
from client.imaging.crops import crop2d, crop3d
from client.imaging.patient import features_gib
from client.imaging.preparation import PatientJob, PatientPlan, Preparation, prepare
from client.imaging.preprocess import preprocess
from client.imaging.radiomics.extraction import extract
from client.imaging.reading import read_image, read_mask
from client.imaging.workers import BoundedPool, Killed
from common.errors import StudyError
from common.study.model import ImagingSettings, RadiomicsSettings

IMAGING = ImagingSettings(crop2d_size=32, crop3d_size=24)
RADIOMICS = RadiomicsSettings()


def save(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    return path


def make_job(folder: Path, name: str, seed: int, *readings: str) -> PatientJob:
    rng = np.random.default_rng(seed)
    at = np.indices((26, 26, 26)) - 13
    masks = {}
    for i, reading in enumerate(readings):
        ball = ((at**2).sum(axis=0) <= (5 - 0.5 * i) ** 2).astype(np.uint8)
        masks[reading] = save(folder / reading / f"{name}.nii.gz", ball)
    image = save(folder / f"{name}.nii.gz", rng.normal(40, 60, at.shape[1:]).astype(np.float32))
    return PatientJob(name, image, masks)


@pytest.fixture
def jobs(tmp_path) -> list[PatientJob]:
    return [
        make_job(tmp_path, "P1", 1, "r1", "r2"),
        make_job(tmp_path, "P2", 2, "r1"),
        make_job(tmp_path, "P3", 3, "r1", "r2"),
    ]


@pytest.fixture
def cache(tmp_path) -> ContentCache:
    return ContentCache(tmp_path / "cache")


@pytest.fixture(scope="module")
def two():
    """Two processes for all tests that neither end them nor count them: their start takes seconds.

    They start with the first task.
    """
    with BoundedPool(2, 4.0) as pool:
        yield pool


def run(jobs, cache, *, workers=1, imaging=IMAGING, radiomics=RADIOMICS, **rest) -> Preparation:
    return prepare(
        jobs,
        imaging=imaging,
        radiomics=radiomics,
        cache=cache,
        workers=workers,
        memory_gib=4.0,
        **rest,
    )


def count_work(monkeypatch) -> list[str]:
    """Names of the things done from now on."""
    done: list[str] = []
    for name in ("crop3d", "extract_roi"):
        original = getattr(patient_module, name)

        def counted(*args, _original=original, _name=name, **kwargs):
            done.append(_name)
            return _original(*args, **kwargs)

        monkeypatch.setattr(patient_module, name, counted)
    return done


def test_gives_the_crops_and_features_of_each_patient_in_the_order_asked_for(jobs, cache):
    made = run(jobs, cache)
    assert made.problems == ()
    names, values = made.features("r1", ["P3", "P1"])
    cubes, sections = made.crops3d(["P3", "P1"]), made.crops2d(["P3", "P1"])
    assert [cube.shape for cube in cubes] == [(24, 24, 24)] * 2 and cubes[0].dtype == np.float32
    for row, job in enumerate([jobs[2], jobs[0]]):
        expected_names, expected = extract(job.image, job.masks["r1"], "radiomics-1834", 1834)
        assert names == expected_names
        np.testing.assert_array_equal(values[row], expected)
        image = read_image(job.image)
        near = preprocess(image, read_mask(job.masks["r1"], image), IMAGING)
        np.testing.assert_array_equal(cubes[row], crop3d(*near, IMAGING))
        np.testing.assert_array_equal(sections[row], crop2d(*near, IMAGING))


def test_features_in_a_window_are_kept_apart_from_those_in_all_hu(jobs, cache):
    plain = run(jobs[:1], cache, imaging=None)
    clipped = run(jobs[:1], cache, imaging=None, window=ImagingSettings(window=100.0))
    names, values = clipped.features("r1", ["P1"])
    highest = names.index("original_firstorder_Maximum")
    assert values[0, highest] == 100.0  # level 50, half of the width above it
    assert plain.features("r1", ["P1"])[1][0, highest] > 100.0


def test_a_missing_reading_is_a_row_of_nan(jobs, cache):
    made = run(jobs, cache)
    names, values = made.features("r2", ["P1", "P2", "P3"])
    assert values.shape == (3, 1834) and len(names) == 1834
    assert np.isnan(values).all(axis=1).tolist() == [False, True, False]
    assert not np.isnan(values[[0, 2]]).any()
    assert np.isnan(made.features("r2_repeat", ["P1"])[1]).all()
    assert made.features("r1", [])[1].shape == (0, 1834)


def test_names_are_known_where_nobody_has_features(cache):
    names, values = run([], cache).features("r1", [])
    assert len(names) == 1834 and values.shape == (0, 1834)


def test_two_processes_give_what_one_gives(jobs, cache, tmp_path, two):
    alone = run(jobs, cache)
    shared = run(jobs, ContentCache(tmp_path / "other"), pool=two)
    everyone = [job.patient_id for job in jobs]
    assert shared.crop_keys == alone.crop_keys and shared.feature_keys == alone.feature_keys
    for reading in ("r1", "r2"):
        np.testing.assert_array_equal(
            shared.features(reading, everyone)[1], alone.features(reading, everyone)[1]
        )
    np.testing.assert_array_equal(shared.crops3d(everyone), alone.crops3d(everyone))


def test_processes_that_are_handed_in_stay_for_the_next_site(jobs, cache):
    def processes() -> set[int | None]:
        return {child.pid for child in multiprocessing.active_children()} - before

    before: set[int | None] = set()
    before = processes()
    with BoundedPool(2, 4.0) as pool:
        run(jobs[:2], cache, radiomics=None, pool=pool)
        first = processes()
        run(jobs[2:], cache, radiomics=None, pool=pool)
        assert len(first) == 2 and processes() == first
    assert not processes() & first


def test_a_second_run_makes_nothing_again(jobs, cache, monkeypatch):
    first = run(jobs, cache)
    done = count_work(monkeypatch)
    again = run(jobs, ContentCache(cache.folder))
    assert done == []
    assert (again.crop_keys, again.feature_keys) == (first.crop_keys, first.feature_keys)


def test_an_interrupted_run_goes_on_where_it_stopped(jobs, cache, monkeypatch):
    def stop(done: int, *_: object) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(jobs, cache, progress=stop)
    done = count_work(monkeypatch)
    assert run(jobs, cache).problems == ()
    assert 0 < len(done) < 3 + 5


def test_a_change_of_the_crops_alone_makes_no_feature_anew(jobs, cache, monkeypatch):
    first = run(jobs, cache)
    done = count_work(monkeypatch)
    monkeypatch.setattr(preparation_module, "CROPS_VERSION", CROPS_VERSION + 1)
    again = run(jobs, cache)
    assert done == ["crop3d"] * 3
    assert not set(again.crop_keys.values()) & set(first.crop_keys.values())
    assert again.feature_keys == first.feature_keys


def test_new_settings_and_new_files_are_made_anew_and_nothing_else(jobs, cache, monkeypatch):
    run(jobs, cache)
    done = count_work(monkeypatch)
    run(jobs, cache, imaging=IMAGING.model_copy(update={"level": 40.0}))
    assert done == ["crop3d"] * 3
    done.clear()
    save(jobs[0].masks["r2"], sitk.GetArrayFromImage(sitk.ReadImage(str(jobs[0].masks["r1"]))))
    made = run(jobs, cache)
    assert done == []  # the new r2 of P1 is the r1 of P1, which is known
    np.testing.assert_array_equal(made.features("r2", ["P1"])[1], made.features("r1", ["P1"])[1])


def test_crops_or_features_alone(jobs, cache):
    only_crops = run(jobs, cache, radiomics=None)
    assert len(only_crops.crops2d(["P1"])) == 1
    with pytest.raises(StudyError, match="no radiomics features were prepared"):
        only_crops.features("r1", ["P1"])
    only_features = run(jobs, cache, imaging=None)
    assert only_features.features("r1", ["P1"])[1].shape == (1, 1834)
    with pytest.raises(StudyError, match="no crops were prepared"):
        only_features.crops3d(["P1"])


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_patients_are_listed_and_never_stop_the_others(jobs, cache, tmp_path, workers, two):
    cut = make_job(tmp_path, "cut", 7, "r1")
    cut.image.write_bytes(cut.image.read_bytes()[:-20])
    empty = make_job(tmp_path, "empty", 8, "r1", "r2")
    save(empty.masks["r1"], np.zeros((26, 26, 26), dtype=np.uint8))
    gone = replace(make_job(tmp_path, "gone", 9, "r1"), image=tmp_path / "nowhere.nii.gz")
    unmasked = make_job(tmp_path, "unmasked", 10)
    pool = two if workers == 2 else None
    made = run([cut, jobs[0], empty, gone, unmasked, jobs[1]], cache, pool=pool)
    assert [(p.patient_id, p.file) for p in made.problems] == [
        ("cut", "cut.nii.gz"),
        ("empty", "empty.nii.gz"),
        ("gone", "nowhere.nii.gz"),
        ("unmasked", "unmasked.nii.gz"),
    ]
    whats = [problem.what for problem in made.problems]
    assert "ends before" in whats[0] and "empty" in whats[1]
    assert whats[2:] == ["no such file", "no main mask"]
    assert all(problem.remedy for problem in made.problems)
    assert len(made.crops3d(["P1", "P2"])) == 2
    assert not np.isnan(made.features("r1", ["P1", "P2"])[1]).any()
    assert not np.isnan(made.features("r2", ["empty"])[1]).any()
    with pytest.raises(StudyError, match="cut: no crops of this patient"):
        made.crops3d(["cut"])


def test_an_unforeseen_failure_is_one_patients_problem(jobs, cache, monkeypatch):
    original = patient_module.crop3d

    def fails_once(*args):
        monkeypatch.setattr(patient_module, "crop3d", original)
        raise ZeroDivisionError("strange file")

    monkeypatch.setattr(patient_module, "crop3d", fails_once)
    made = run(jobs, cache)
    assert len(made.problems) == 1
    assert "could not be processed: ZeroDivisionError: strange file" in made.problems[0].what
    assert len(made.crop_keys) == 2


def test_lack_of_memory_is_named(jobs, cache, monkeypatch):
    def fails(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(patient_module, "extract_roi", fails)
    made = run(jobs[:1], cache)
    assert {problem.what for problem in made.problems} == {"not enough memory"}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_fault_of_the_installation_stops_the_site(jobs, cache, workers):
    wrong = RadiomicsSettings(expected_features=1800)
    with pytest.raises(StudyError, match="gives 1834 features, the study expects 1800"):
        run(jobs, cache, workers=workers, radiomics=wrong)


@pytest.mark.skipif(os.name != "posix", reason="processes are killed by a POSIX signal")
def test_a_process_killed_from_outside_costs_no_patient(jobs, cache):
    killed = []
    others = set(multiprocessing.active_children())

    def kill_one(*_: object) -> None:
        if not killed:
            child = (set(multiprocessing.active_children()) - others).pop()
            killed.append(child.pid)
            os.kill(child.pid, signal.SIGKILL)

    made = run(jobs, cache, workers=2, progress=kill_one)
    assert killed
    assert made.problems == ()
    assert not np.isnan(made.features("r1", ["P1", "P2", "P3"])[1]).any()


def test_a_process_killed_alone_is_a_problem_that_names_the_memory(jobs):
    plan = PatientPlan(jobs[0])
    plan.take(Killed())
    assert plan.problems[0].patient_id == "P1"
    assert "killed, most likely for lack of memory" in plan.problems[0].what


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_counts_every_patient_once(jobs, cache, tmp_path, workers, two):
    missing = PatientJob("P4", tmp_path / "none.nii", {"r1": tmp_path / "none.nii"})
    seen: list[tuple[int, int, str]] = []
    pool = two if workers == 2 else None
    run([*jobs, missing], cache, pool=pool, progress=lambda *step: seen.append(step))
    assert [(done, total) for done, total, _ in seen] == [(i, 4) for i in (1, 2, 3, 4)]
    assert {name for *_, name in seen} == {"P1", "P2", "P3", "P4"}


def test_another_process_reads_no_image_again(jobs, cache, monkeypatch):
    made = run(jobs, cache)
    cubes = made.crops3d(["P2"])
    run(jobs, ContentCache(cache.folder))  # sees that what was made is whole
    monkeypatch.setattr(cache_module, "file_digest", lambda _: 1 / 0)
    monkeypatch.setattr(ContentCache, "get", lambda *_: 1 / 0)
    again = run(jobs, ContentCache(cache.folder))
    assert again.crop_keys == made.crop_keys
    np.testing.assert_array_equal(again.crops3d(["P2"]), cubes)


def test_a_damaged_entry_is_made_again_and_a_lost_one_is_named(jobs, cache):
    made = run(jobs, cache)
    key = made.crop_keys["P1"]
    path = next(cache.folder.rglob(f"{key}.npz"))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(StudyError, match=r"gone from the cache or is damaged .* prepare the pat"):
        made.crops3d(["P1"])
    assert run(jobs, cache).crops3d(["P1"])[0].shape == (24, 24, 24)
    shutil.rmtree(cache.folder)
    with pytest.raises(StudyError, match="gone from the cache"):
        made.features("r1", ["P1"])


def test_neither_whole_images_nor_patient_ids_enter_the_cache(jobs, cache):
    run(jobs, cache)
    files = [path for path in cache.folder.rglob("*") if path.is_file()]
    assert all(re.fullmatch(r"[0-9a-f]{64}\.npz|known\.json", path.name) for path in files)
    for path in cache.folder.rglob("*.npz"):
        with np.load(path) as stored:
            assert set(stored.files) in ({"crop2d", "crop3d"}, {"names", "values"})


def test_memory_estimates_cover_what_was_measured_on_real_ct():
    # ROI in cm3, side in mm of a cube of about its bounding volume, measured peak in GiB
    library = ((28, 42, 0.36), (80, 55, 0.58), (423, 98, 2.05), (818, 120, 3.73))
    fast = ((80, 55, 0.37), (1000, 125, 0.51), (2000, 157, 0.67))
    for engine, tumours in (("pyradiomics", library), ("fast", fast)):
        for roi, side, measured in tumours:
            mask = np.zeros((side + 20,) * 3, dtype=np.uint8)
            inside = np.zeros(side**3, dtype=np.uint8)
            inside[: roi * 1000] = inside[-1] = 1
            mask[10:-10, 10:-10, 10:-10] = inside.reshape((side,) * 3)
            gib = features_gib(sitk.GetImageFromArray(mask), engine=engine)
            assert measured < gib < 1.5 * measured
