"""A site's workspace for one study and run: settings, cohort, prepared images, tables."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from client.data.cohort import Cohort, RowProblem, assign_folds, check_cohort, read_cohort
from client.data.tables import SiteTables
from client.site import LOG, SiteSettings, load_site
from client.store.cohorts import CohortFingerprint, Dealing
from client.store.derived_files import DerivedFiles
from client.store.group_key import GroupKeys
from client.store.masks import RunMasks
from client.store.openings import Openings
from client.store.releases import Releases
from client.store.run_files import RunTables
from client.store.site_db import Draft, recall_study
from client.store.updates import Updates
from common.disclosure.rule import stricter
from common.errors import InputError
from common.statistics.base import Float
from common.study.model import PrivacySettings, Study

if TYPE_CHECKING:
    from client.imaging.preparation import PatientProblem
    from client.imaging.prepared import PreparedImages
    from client.imaging.workers import BoundedPool

Progress = Callable[[int, int, str], None]


class Workspace:
    """Everything that a handler needs. Built once per process, study and run."""

    def __init__(self, settings: SiteSettings, study: Study, run: str) -> None:
        self.settings, self.study, self.run = settings, study, run
        self.run_tables = RunTables(settings.work, run)
        self.cohort, self.images, self.excluded = load_patients(settings, study)
        self.draft = Draft(settings.work)
        self.fingerprint = CohortFingerprint(self.draft, study, run, self.cohort, self.images)
        self.fingerprint.check()
        self.dealing = Dealing(self.draft, study, self.cohort)
        self.tables = SiteTables(self.cohort, study, self.run_tables, self.images)
        self.masks = RunMasks(settings, study, run, self.draft)
        self.group = GroupKeys(settings.work, study, run, settings.name, self.masks)
        self.openings = Openings(settings, study, run, self.masks)
        self.derived = DerivedFiles(self.run_tables.folder)
        deployed = settings.deployment is not None
        self.updates = Updates(self.run_tables.folder, self.draft, kept=deployed)
        self.releases = Releases(settings, study, run, self.cohort, self.draft, self.images)

    @property
    def name(self) -> str:
        """The site's name."""
        return self.settings.name

    @property
    def privacy(self) -> PrivacySettings:
        """Stricter of the study's and the site's thresholds."""
        return stricter(self.study.privacy, self.settings.privacy)

    def deal(self, totals: Float) -> None:
        """Deal the folds by the levels (columns, levels) of all sites' patients, once for good."""
        self.dealing.deal(totals)
        self.tables.forget()

    def follow_dealing(self) -> None:
        """Take over folds that another process of the site has dealt since this one looked."""
        if self.dealing.follow():
            self.tables.forget()

    def settle_folds(self) -> None:
        """Keep the folds as they are, before the first sum by fold."""
        self.dealing.settle()


def load_patients(
    settings: SiteSettings,
    study: Study,
    progress: Progress | None = None,
    pool: BoundedPool | None = None,
) -> tuple[Cohort, PreparedImages | None, int]:
    """Read and check the cohort and its images; return usable patients, and the number left out.

    Rows and headers come first, and stop the site before anything is prepared.

    Parameters
    ----------
    pool : of processes that prepare images; None = an own one, ended on return.

    Raises
    ------
    InputError : the cohort is unusable, or has bad patients and the site did not agree to go on.
    """
    cohort = read_cohort(settings.data, settings.name, study, pooled=settings.pooled)
    problems: list[RowProblem | PatientProblem] = list(cohort.problems)
    if study.needs_images:
        from client.imaging.prepared import header_problems

        problems.extend(header_problems(cohort.patients, settings))
    report_problems(settings, problems)
    bad = {problem.patient_id for problem in problems}
    _leave_out(cohort, study, bad)
    if not study.needs_images:
        return cohort, None, len(bad)
    from client.imaging.prepared import prepare_images

    images, found = prepare_images(cohort.patients, settings, study, progress, pool)
    report_problems(settings, found)
    spoilt = {problem.patient_id for problem in found}
    _leave_out(cohort, study, spoilt)
    return cohort, images, len(bad | spoilt)


def _leave_out(cohort: Cohort, study: Study, bad: Collection[str]) -> None:
    """Continue with the other patients, if they are those that the study expects."""
    kept = [p for p in cohort.patients if p.patient_id not in bad]
    cohort.patients = assign_folds(kept, study)
    check_cohort(cohort, study)


def report_problems(settings: SiteSettings, problems: Sequence[object]) -> None:
    """List every bad patient on the site's own screen; stop unless the site agreed to go on."""
    for problem in problems:
        LOG.warning("site %s: %s", settings.name, problem)
    if problems and not settings.exclude_bad_patients:
        listed = "; ".join(str(problem) for problem in problems[:5])
        more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
        raise InputError(
            f"{len(problems)} problem(s) with patients: {listed}{more}",
            where=f"site {settings.name}",
            remedy="correct them, or set exclude_bad_patients = true in site.toml to go on without",
        )


Written = tuple[tuple[int, int], ...]


def when_written(site_config: Path, settings: SiteSettings) -> Written:
    """Return when site.toml and the cohort were written, and their sizes."""
    files = (site_config, settings.data / "cohort.csv")
    found = [path.stat() for path in files if path.is_file()]
    return tuple((one.st_mtime_ns, one.st_size) for one in found)


@lru_cache(maxsize=256)
def open_workspace(
    site_config: Path, study_digest: str, run: str, written: Written = ()
) -> Workspace:
    """Return the workspace of an enrolled study; kept for the life of the process.

    Parameters
    ----------
    written : `when_written`: after a change of its files, another workspace is opened.
    """
    settings = load_site(site_config)
    return Workspace(settings, recall_study(settings.work, study_digest), run)
