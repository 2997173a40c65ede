"""A run's traces at this site, read again without asking anybody."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from client.commands.approve import settings_of
from client.data.cohort import Cohort, Patient
from client.data.tables import SiteTables
from client.site import SiteSettings
from client.store.cohorts import Dealing
from client.store.ledger import ledger_path
from client.store.run_files import RunTables, StoredTable
from client.store.site_db import Draft, recall_study
from client.workspace import load_patients
from common.errors import InputError
from common.ledger.verify import read_entries
from common.study.model import Study

if TYPE_CHECKING:
    from client.imaging.prepared import PreparedImages


@dataclass(frozen=True)
class SiteRun:
    """One run at one site.

    Parameters
    ----------
    excluded : patients whose data could not be used.
    """

    name: str
    settings: SiteSettings
    study: Study
    cohort: Cohort
    images: PreparedImages | None
    excluded: int

    @property
    def stored(self) -> RunTables:
        """Tables that the run made here."""
        return RunTables(self.settings.work, self.name)

    @property
    def tables(self) -> SiteTables:
        """Tables by name and subset."""
        return SiteTables(self.cohort, self.study, self.stored, self.images)

    @property
    def test_sets(self) -> tuple[str, ...]:
        """Test sets with patients of this site."""
        own = (test.name for test in self.study.test_sets if self.settings.name in test.sites)
        return tuple(name for name in own if self.patients(name))

    @property
    def subsets(self) -> tuple[str, ...]:
        """The training set and the test sets, those with patients of this site."""
        return (*(["train"] if self.patients("train") else []), *self.test_sets)

    def patients(self, subset: str) -> list[Patient]:
        """Patients of a subset in cohort order; none where the site does not train."""
        if subset == "train" and self.settings.name not in self.study.training_sites:
            return []
        return self.cohort.subset(self.study, subset)

    @property
    def confirmed(self) -> int:
        """Patients of the run whose contours are used because cohort.csv confirms them."""
        own = {p.patient_id for name in self.subsets for p in self.patients(name) if p.confirmed}
        return len(own)

    def table(self, name: str, subset: str) -> StoredTable | None:
        """A table that the run made; None where it has not made it."""
        try:
            return self.stored.read(name, subset)
        except KeyError:
            return None


def read_site_run(site: Path, run: str | None) -> SiteRun:
    """Read the run of this name at the site, or the last one in its ledger.

    Raises
    ------
    InputError : the site has answered no such run.
    """
    settings = settings_of(site)
    name, digest = _find_run(settings, run)
    study = recall_study(settings.work, digest)
    cohort, images, excluded = load_patients(settings, study, None)
    Dealing(Draft(settings.work), study, cohort)  # folds as the run had them
    return SiteRun(name, settings, study, cohort, images, excluded)


def _find_run(settings: SiteSettings, wanted: str | None) -> tuple[str, str]:
    """Return name and study digest: the ledger is where both stand together."""
    path = ledger_path(settings.work)
    entries = read_entries(path) if path.is_file() else ()
    known = {entry.run: entry.study for entry in entries if entry.run}
    if wanted is None and known:
        # in the order of the last entry, not of the first
        wanted = next(entry.run for entry in reversed(entries) if entry.run)
    if wanted is None or wanted not in known:
        raise InputError(
            f"this site has not taken part in a run {wanted}" if wanted else "no run so far",
            where=str(path),
            remedy=f"have: {', '.join(known) or 'none'}",
        )
    return wanted, known[wanted]


def title_of(subset: str) -> str:
    """Return the title of a subset."""
    words = subset.replace("_", " ")
    return "Training set" if subset == "train" else f"Test set {words}"
