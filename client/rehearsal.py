"""What a site would bring to a study, found out without telling anybody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from client.cohort import check_cohort, read_cohort
from client.site import SiteSettings, load_site
from common.errors import InputError
from common.study import load_study

Progress = Callable[[int, int, str], None]


@dataclass
class Findings:
    """Usable patients by subset as (patients, positives), and everything that is wrong."""

    site: str
    patients: int = 0
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def ready(self) -> bool:
        """Whether nothing has to be put right."""
        return not self.problems

    def as_dict(self) -> dict[str, object]:
        """For --json."""
        return {**vars(self), "ready": self.ready}


def site_of(folder: Path) -> SiteSettings:
    """Settings from the folder's site.toml, or the defaults under the folder's name."""
    own = folder / "site.toml"
    if own.is_file():
        return load_site(own)
    resolved = folder.resolve()
    return SiteSettings(name=resolved.name, data=resolved, cache=resolved / "cache")


def rehearse(
    folder: Path, study_file: Path, cache: Path | None, progress: Progress | None
) -> Findings:
    """Read cohort, images and contours as the study would.

    Raises
    ------
    InputError : the study file itself is wrong.
    """
    study = load_study(study_file)
    settings = site_of(folder)
    if cache is not None:
        settings = settings.model_copy(update={"cache": cache.resolve()})
    findings = Findings(site=settings.name)
    try:
        cohort = read_cohort(settings.data, settings.name, study)
    except InputError as error:
        findings.problems.append(str(error))
        return findings
    problems: list[object] = list(cohort.problems)
    if study.needs_images:
        from client.prepared import prepare_images

        _, found = prepare_images(cohort.patients, settings, study, progress)
        problems.extend(found)
        bad = {problem.patient_id for problem in found}
        cohort.patients = [p for p in cohort.patients if p.patient_id not in bad]
    findings.problems.extend(str(problem) for problem in problems)
    findings.patients = len(cohort.patients)
    for name in ("train", *(test.name for test in study.test_sets)):
        own = cohort.subset(study, name)
        if own:
            findings.counts[name] = (len(own), sum(p.label for p in own))
    try:
        check_cohort(cohort, study)
    except InputError as error:
        findings.problems.append(str(error))
    return findings
