"""Whole study on one machine: prepare, run, run the references, merge, report."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape

from client.data.cohort import ORIGIN
from client.data.cohort_file import read_table
from client.imaging.workers import BoundedPool
from client.site import SiteSettings, load_site
from common.disclosure.differencing import check_test_sets_apart
from common.errors import StudyError
from common.ledger.verify import read_entries
from common.models import NETWORKS
from common.study.model import (
    NetworkSettings,
    PrivacySettings,
    SiteEntry,
    Study,
    TestSet,
    load_study,
    write_study,
)
from common.study.sums import check_maskable
from common.utils.console import ProgressBar
from common.utils.workers import WorkerPool
from server.federation.obstacles import (
    Obstacle,
    ObstaclesError,
    obstacle_table,
    of_refusal,
    without,
)
from server.progress.screen import Follower, follow
from sim.jobs import Engine, Job, Outcome, configure_screen, run_job
from sim.leave_one_out import (
    LEAVE_ONE_OUT,
    check_enough,
    left_out_rows,
    left_out_study,
    write_left_out_cohort,
)
from sim.sites import (
    data_folder,
    find_sites,
    place_coordinator,
    place_identities,
    place_sites,
    with_identities,
    write_site,
)


def ledger_rows(sites: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Return ledger entries by site and kind of message, for results.json.

    Parameters
    ----------
    sites : path of every hospital's site.toml inside the run; the ledger is in its work folder.
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for site, path in sites.items():
        ledger = path.parent / "work" / "ledger.jsonl"
        for entry in read_entries(ledger) if ledger.is_file() else ():
            if entry.decision not in ("released", "refused", "stopped"):
                continue
            new = {"site": site, "exchange": entry.exchange, "released": 0}
            row = rows.setdefault(
                (site, entry.exchange), {**new, "refused": 0, "stopped": 0, "bytes": 0}
            )
            row[entry.decision] += 1
            if entry.decision == "released":
                row["bytes"] += entry.size
    return list(rows.values())


ROWS = (
    *("performance", "site_performance", "delong", "roc", "calibration", "decision_curve"),
    *("strata", "strata_tests", "transfers", "calibration_fits", "recalibration"),
)


def merge_results(trees: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Add the rows of the other trees to the first one (the federated run).

    Table 1, study, software and warnings are those of the federated run.
    """
    merged = dict(trees[0])
    for tree in trees[1:]:
        for key in (*ROWS, "refusals"):
            merged[key] = [*merged.get(key, ()), *tree.get(key, ())]
        for key in ("selection", "fusion", "training"):
            merged[key] = {**merged[key], **tree[key]}
        timing = {phase: dict(runs) for phase, runs in merged["timing"].items()}
        for phase, runs in tree["timing"].items():
            timing.setdefault(phase, {}).update(runs)
        merged["timing"] = timing
    return merged


PATHS = ("image", "mask", "mask_r1_repeat", "mask_r2", "mask_r2_repeat")
# a reference releases nothing: everything happens inside one imagined hospital
UNRESTRICTED = {
    "min_rows": 1,
    "min_rows_per_fold": 1,
    "min_per_class": 1,
    "min_class_per_fold": 0,
    "min_oof_rows": 1,
    "max_unique_rows": 1.0,
    "min_rows_weak_penalty": 0,
    "min_cell": 0,
    "masking": "off",
}


def unrestricted(study: Study) -> PrivacySettings:
    """Return thresholds of a reference; settings that shape the input stay as in the study.

    Those are the clipping, the cells of ranks, and the removal of nearly constant columns.
    """
    return study.privacy.model_copy(update=UNRESTRICTED)


def consent(study: Study) -> PrivacySettings:
    """Return the privacy settings of a reference's site.toml: consent to the study's mode."""
    return PrivacySettings(mode=study.privacy.mode)


def networks_of_one(study: Study) -> dict[str, NetworkSettings]:
    """Return the study's networks for one training hospital, with nothing to aggregate."""
    alone = {"strategy": "fedavg", "strategy_options": {}, "transfer_bits": 32}
    return {
        name: NetworkSettings.model_validate(study.network(name).model_dump() | alone)
        for name in NETWORKS
    }


def pooled_study(study: Study) -> Study:
    """Return the same study at one site that holds all hospitals' patients."""
    tests = tuple(
        TestSet(name=t.name, split=t.split, sites=("pooled",), origins=t.hospitals)
        for t in study.test_sets
    )
    return study.model_copy(
        update={
            "sites": (SiteEntry(name="pooled"),),
            "test_sets": tests,
            "privacy": unrestricted(study).model_copy(update=_of_folds(study)),
            **networks_of_one(study),
        }
    )


def _of_folds(study: Study) -> dict[str, int]:
    """Return the thresholds that every fold keeps as it is dealt."""
    names = ("min_class_per_fold", "min_rows_per_fold")
    return {name: getattr(study.privacy, name) for name in names}


def local_study(study: Study, name: str) -> Study:
    """Return the same study with one hospital training; all of them test.

    A hospital's own few patients would make too many columns nearly constant: none is left out.
    """
    sites = tuple(SiteEntry(name=s.name, trains=s.name == name) for s in study.sites)
    privacy = unrestricted(study).model_copy(update={"min_category": 0})
    update = {"sites": sites, "privacy": privacy, **networks_of_one(study)}
    return study.model_copy(update=update)


def pool_cohorts(data: Mapping[str, Path], study: Study, folder: Path) -> None:
    """Write one cohort.csv of all hospitals: absolute paths, ids prefixed with the hospital.

    Rows of training split from hospitals that do not train are left out, as the study does. A row
    without an id stays without: it is as unusable as at its hospital.

    Parameters
    ----------
    data : the folder with cohort.csv, by hospital.
    """
    frames = []
    for name, source in data.items():
        frame = read_table(source / "cohort.csv")
        if name not in study.training_sites:
            frame = frame[frame["split"] != "train"]
        ids = [f"{name}/{patient}" if patient else "" for patient in frame["patient_id"]]
        frame = frame.assign(**{ORIGIN: name, "patient_id": ids})
        for column in PATHS:
            if column in frame:
                frame[column] = [str(source / text) if text else "" for text in frame[column]]
        frames.append(frame)
    folder.mkdir(parents=True, exist_ok=True)
    pd.concat(frames).fillna("").to_csv(folder / "cohort.csv", index=False)


def pooled_settings(study: Study, run: Path, cache: Path) -> SiteSettings:
    """Return settings of the imagined hospital that holds everything, in the study's mode."""
    return SiteSettings(
        name="pooled",
        data=(run / "data").resolve(),
        work=(run / "work").resolve(),
        cache=cache.resolve(),
        exclude_bad_patients=True,
        pooled=True,
        privacy=consent(study),
        approvals="open",
    )


POLL_SECONDS = 0.5
REFERENCES = ("pooled", "local", LEAVE_ONE_OUT)
FEDERATED, WITHOUT = "federated", "without:"


@dataclass(frozen=True)
class Simulation:
    """Parameters of a simulation.

    Parameters
    ----------
    study : path of study.toml.
    folders : one per hospital.
    out : folder of the run; one that holds an interrupted run of the same study resumes it.
    engine : of the federated run; references always run in process.
    references : of `REFERENCES`, or none.
    cache : prepared images and features, shared between runs.
    exclude_bad_patients : as every hospital of this simulation sets it.
    """

    study: Path
    folders: Sequence[Path]
    out: Path
    engine: Engine
    references: Sequence[str]
    cache: Path
    exclude_bad_patients: bool = False


class UnfinishedError(StudyError):
    """References could not finish beside a federated run that did.

    Parameters
    ----------
    results : of all that finished; they are written.
    """

    def __init__(self, results: Any, errors: Sequence[StudyError]) -> None:
        self.results = results
        super().__init__(
            "; ".join(map(str, errors)),
            remedy="the results are without it; the same command with the same --out tries again",
        )


def simulate(simulation: Simulation, console: Console) -> Any:
    """Run everything; return the validated results.

    Raises
    ------
    StudyError : wrong input, or a federated run that could not finish.
    UnfinishedError : a reference could not; all others are written.
    """
    from server.manuscript.write import write_beside
    from server.report.study_report import write_outputs

    study = load_study(simulation.study)
    check_maskable(study, where=str(simulation.study))
    check_test_sets_apart(study, where=str(simulation.study))
    if LEAVE_ONE_OUT in simulation.references:
        check_enough(study)
    data = find_sites(simulation.folders, study)
    simulation.out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    sites = place_sites(
        data,
        simulation.out,
        simulation.cache,
        exclude_bad_patients=simulation.exclude_bad_patients,
        verifying=study.training_sites[:1],
    )
    prepare_all(sites, with_identities(study), console)
    jobs = _jobs(simulation, study, data, sites)
    failed = _run_all(jobs, console, lambda: _show_federated(simulation.out, data, console))
    if FEDERATED in failed:
        raise failed[FEDERATED]
    found = {job.label: _results_of(job.out) for job in jobs if job.label not in failed}
    without = [label for label in found if label.startswith(WITHOUT)]
    tree = merge_results([one for label, one in found.items() if label not in without])
    tree["leave_one_out"] = [
        row for label in without for row in left_out_rows(label.removeprefix(WITHOUT), found[label])
    ]
    tree["warnings"] += [f"No reference: {error}" for error in failed.values()]
    _add_phantom_facts(tree, data)
    tree["ledger"] = ledger_rows(sites)
    tree["timing"]["whole study"] = {"federated": time.monotonic() - started}
    console.print("writing the report", highlight=False)
    results = write_outputs(tree, simulation.out)
    problem = write_beside(results, simulation.out)
    if problem:
        console.print(f"[yellow]{escape(problem)}[/yellow]", highlight=False)
    if failed:
        raise UnfinishedError(results, list(failed.values()))
    return results


def check_all(sites: Mapping[str, Path], study: Study, console: Console) -> None:
    """Check every hospital's rows, files, headers and counts, before preparing any image.

    Raises
    ------
    ObstaclesError : hospitals cannot take part; the table on screen lists every reason.
    """
    from client.check.first_pass import first_pass

    rows: list[Obstacle] = []
    for name, path in sites.items():
        try:
            found = first_pass(load_site(path), study)
        except StudyError as error:
            rows.append(_obstacle(name, error.where, error.what, error.remedy))
            continue
        rows += [_obstacle(name, one.where, one.what, one.remedy) for one in found.reasons]
        rows += [of_refusal(name, one, study) for one in found.foreseen.stops]
    if rows:
        console.print(obstacle_table(rows))
        raise ObstaclesError(rows, without(rows, study))


def _obstacle(site: str, where: str, what: str, remedy: str) -> Obstacle:
    return Obstacle(site, f"{where}: {what}" if where else what, remedy)


def prepare_all(sites: Mapping[str, Path], study: Study, console: Console) -> None:
    """Check every hospital's cohort and prepare its images, one hospital after the other.

    Parameters
    ----------
    study : as shown to the hospitals.
    """
    configure_screen("check")
    check_all(sites, study, console)
    failed: list[StudyError] = []
    with ExitStack() as stack:
        # a new process takes seconds: hospitals with the same bounds share theirs
        pool_of = cache(lambda *bounds: stack.enter_context(BoundedPool(*bounds)))
        for name, path in sites.items():
            start = time.monotonic()
            try:
                settings = load_site(path)
                pool = pool_of(settings.preparation_workers, settings.memory_gib)
                patients, excluded = prepare_site(settings, study, console, pool)
            except StudyError as error:
                console.print(f"[red]{name}: cannot take part[/red]", highlight=False)
                failed.append(error)
                continue
            left = f", {excluded} left out" if excluded else ""
            seconds = time.monotonic() - start
            console.print(
                f"{name}: {patients} patients ready{left} ({seconds:.0f} s)", highlight=False
            )
    if failed:
        raise failed[0]


def prepare_site(
    settings: SiteSettings, study: Study, console: Console, pool: BoundedPool
) -> tuple[int, int]:
    """Prepare one hospital; return its patients, and how many were left out."""
    from client.store.cohorts import CohortFingerprint
    from client.store.site_db import Draft
    from client.workspace import load_patients

    with ProgressBar(console, settings.name) as progress:
        cohort, images, excluded = load_patients(settings, study, progress, pool)
    # each hospital looks again; here nothing has begun yet, and no reference either
    CohortFingerprint(Draft(settings.work), study, FEDERATED, cohort, images).check()
    return len(cohort.patients), excluded


def _jobs(
    simulation: Simulation, study: Study, data: Mapping[str, Path], sites: Mapping[str, Path]
) -> list[Job]:
    out = simulation.out
    # written out in full, so that all runs share every setting even if the preset changes
    file = write_study(with_identities(study), out / "input" / "study.toml")
    key = place_coordinator(out / "input")
    jobs = [Job(FEDERATED, file, sites, out, simulation.engine, key)]
    if "pooled" in simulation.references:
        folder = out / "references" / "pooled"
        cohorts = {name: data_folder(own) for name, own in data.items()}
        pool_cohorts(cohorts, study, folder / "data")
        path = write_site(folder, pooled_settings(study, folder, simulation.cache))
        place_identities([("pooled", path)])
        file = write_study(pooled_study(study), folder / "input" / "study.toml")
        jobs.append(Job("pooled", file, {"pooled": path}, folder))
    if "local" in simulation.references:
        for name in study.training_sites:
            folder = out / "references" / f"local-{name}"
            file = write_study(local_study(study, name), folder / "input" / "study.toml")
            # a work folder and a ledger of its own: answers to a reference leave no hospital
            own = place_sites(
                data,
                folder,
                simulation.cache,
                exclude_bad_patients=simulation.exclude_bad_patients,
                privacy=consent(study),
            )
            jobs.append(Job(f"local:{name}", file, own, folder))
    if LEAVE_ONE_OUT in simulation.references:
        jobs += [_without(simulation, study, data, name) for name in study.training_sites]
    return jobs


def _without(simulation: Simulation, study: Study, data: Mapping[str, Path], name: str) -> Job:
    """Return the run of the other training hospitals, judged on the patients of this one."""
    folder = simulation.out / "references" / f"without-{name}"
    own = folder / "data" / name
    write_left_out_cohort(data_folder(data[name]), own, PATHS)
    reference = left_out_study(study, name, unrestricted(study))
    sites = place_sites(
        {one: own if one == name else data[one] for one in study.training_sites},
        folder,
        simulation.cache,
        exclude_bad_patients=simulation.exclude_bad_patients,
        privacy=consent(study),
    )
    file = write_study(with_identities(reference), folder / "input" / "study.toml")
    key = place_coordinator(folder / "input")
    return Job(f"{WITHOUT}{name}", file, sites, folder, identity=key)


def _run_all(
    jobs: Sequence[Job], console: Console, show: Callable[[], None]
) -> dict[str, StudyError]:
    """Run the jobs side by side, one per core, the federated one first; return failures by label.

    Parameters
    ----------
    show : called once if the federated run finishes while a reference is still running.
    """
    for job in jobs:
        job.out.mkdir(parents=True, exist_ok=True)
    followers = [Follower(job.label, job.out / "events.jsonl", console) for job in jobs]
    pool = WorkerPool(min(len(jobs), len(os.sched_getaffinity(0))))
    with pool:
        try:
            futures = {job.label: pool.submit(run_job, job) for job in jobs}
            _wait(futures, followers, show)
        except BaseException:
            pool.end()
            raise
    # a bug of the program itself is shown with its traceback
    crash = futures[FEDERATED].exception()
    if crash is not None:
        raise crash
    return {job.label: error for job in jobs if (error := _error(job, futures[job.label]))}


def _error(job: Job, future: Future[Outcome]) -> StudyError | None:
    if future.cancelled():
        return StudyError("not begun", where=job.label)
    crash = future.exception()
    if crash is not None:
        what = f"{type(crash).__name__}: {crash}"
        return StudyError(what, where=job.label, remedy=f"see {job.out / 'crash.log'}")
    outcome = future.result()
    return outcome.as_error() if outcome.error else None


def _wait(
    futures: Mapping[str, Future[Outcome]],
    followers: Sequence[Follower],
    show: Callable[[], None],
) -> None:
    """Wait for all; without the federated run, no reference is worth starting."""
    federated, shown = futures[FEDERATED], False
    while not all(future.done() for future in futures.values()):
        done = federated.done()  # read before the events: the last event comes before the table
        follow(followers)
        if done and (federated.exception() or federated.result().error):
            for future in futures.values():
                future.cancel()
        elif done and not shown:
            shown = True
            show()
        time.sleep(POLL_SECONDS)
    follow(followers)


def _show_federated(out: Path, data: Mapping[str, Path], console: Console) -> None:
    """Print the table of the federated run without waiting for the references."""
    from server.report.results import parse
    from server.report.tables import terminal_table

    tree = _results_of(out)
    _add_phantom_facts(tree, data)
    console.print(terminal_table(parse(tree, where=str(out / "run.json"))))
    console.print("the references go on; the report follows them", highlight=False)


def _results_of(out: Path) -> dict[str, Any]:
    rows: dict[str, Any] = json.loads((out / "run.json").read_text(encoding="utf-8"))
    return rows


def _add_phantom_facts(tree: dict[str, Any], data: Mapping[str, Path]) -> None:
    """Add the known ceiling of a phantom, and a warning that its patients are artificial."""
    path = next(iter(data.values())).parent / "phantom.json"
    if not path.is_file():
        return
    facts = json.loads(path.read_text(encoding="utf-8"))
    tree["ceiling"] = facts["ceiling"]
    tree["warnings"] = [
        "Phantom patients: every image and every value of this study is computer-made. At each"
        " training hospital the imaging protocol gives a false cue that cancels over the hospitals:"
        " part of the gap to hospitals that trained alone comes from it, by design.",
        *tree["warnings"],
    ]
