"""Predicted refusals of this site: the rules of `common.disclosure` on its own patients."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from client.check.finding import (
    Finding,
    Findings,
    Severity,
    not_applicable,
    not_checked,
    ok,
    or_ok,
    problem,
    problem_of,
    warning,
)
from client.check.registry import check
from client.data.cohort import READING_PAIRS, Cohort, Patient
from client.data.tables import coded_table
from client.site import SiteSettings
from client.store.cohorts import SMALLEST_CHANGE, Memberships, changed_by_few
from client.store.departures import Departures, NotAbsentError
from client.store.ledger import ledger_path
from client.store.patient_budget import PatientBudget
from client.store.patient_values import PatientValues
from client.store.releases import EarlierSums
from client.store.site_db import site_db
from common.disclosure.foretelling import Foretold, foretell
from common.disclosure.rule import RULES, TRAIN, patients_of, stricter
from common.errors import StudyError
from common.messages.exchanges import Refusal
from common.statistics.base import Rows
from common.study.model import FEWEST_MASKED, PrivacySettings, Study
from common.study.sums import subsets_of


def foretold(cohort: Cohort, study: Study, privacy: PrivacySettings) -> Foretold:
    """Apply the rules to a cohort with assigned folds."""
    rows = {
        subset: _rows(cohort.subset(study, subset), study)
        for subset in subsets_of(study, cohort.site)
    }
    masks = [set(p.masks) for p in cohort.subset(study, "train")] if "train" in rows else []
    twice = {
        f"{first} and {second}": sum({first, second} <= own for own in masks)
        for first, second in READING_PAIRS
    }
    return foretell(study, privacy, rows, twice)


def _rows(patients: list[Patient], study: Study) -> Rows:
    """Return the clinical values as they are, with label and fold."""
    return Rows(
        values=coded_table(patients, study),
        columns=tuple(column.name for column in study.clinical),
        label=np.array([p.label for p in patients], dtype=np.float64),
        fold=np.array([p.fold for p in patients], dtype=np.int64),
    )


KIND = "disclosure.earlier"


@check("patients")
def check_earlier(cohort: Cohort, study: Study, settings: SiteSettings) -> Findings:
    """Compare the cohort with those of the ledger."""
    if not ledger_path(settings.work).is_file():
        for kind in (KIND, ROSTER):
            yield ok(kind, "nothing was ever released from this work folder")
        return
    try:
        memberships = Memberships(settings.work)
        found = []
        for subset in ("train", *(test.name for test in study.test_sets)):
            now = memberships.of(p.patient_id for p in cohort.subset(study, subset)).members
            if changed_by_few(memberships.earlier(), now):
                found.append(
                    problem(
                        KIND,
                        subset,
                        f"refused: fewer than {SMALLEST_CHANGE} patients came or went since an"
                        " earlier release (rule membership)",
                        "go back to the earlier patients, or change by more at once",
                    )
                )
            found += _read_otherwise(cohort, study, settings, subset)
        yield from or_ok(found, {KIND: "the same patients and values as before, or many others"})
        yield from _rosters(cohort, study, settings)
    except StudyError as error:
        yield problem_of(KIND, error)


def _read_otherwise(cohort: Cohort, study: Study, settings: SiteSettings, subset: str) -> Findings:
    """Compare values and folds with those of earlier sums; images are compared in the study."""
    if settings.corrections:
        return
    patients = cohort.subset(study, subset)
    memory = PatientValues(settings.work, study, None)
    if memory.changed_by_few(memory.of(patients)):
        what = (
            f"refused: a column has other values for fewer than {SMALLEST_CHANGE} patients than in"
            " earlier sums (rule corrections)"
        )
        yield problem(KIND, subset, what, RULES["corrections"].remedy_here)
    if subset == TRAIN and memory.dealt_otherwise(patients):
        what = (
            "refused: this seed dealt the patients to another number of folds before (same_folds)"
        )
        yield problem(KIND, subset, what, f"ask the coordinator: {RULES['same_folds'].remedy}")


ROSTER = "disclosure.roster"


def _rosters(cohort: Cohort, study: Study, settings: SiteSettings) -> Findings:
    """Compare the hospitals of this study with those of earlier sums over the same patients."""
    try:
        Departures(settings.work, study).check()
    except NotAbsentError as error:
        yield problem_of(ROSTER, error)
        return
    memberships, earlier = Memberships(settings.work), EarlierSums.of(settings.work, study)
    found = []
    for subset in subsets_of(study, cohort.site):
        patients = cohort.subset(study, subset)
        if not study.masked(subset) or not patients:
            continue
        digest = memberships.of(p.patient_id for p in patients).digest
        known, now = site_db(settings.work).companions(digest), study.members(subset)
        if known and earlier.reveal_too_much(subset, now, known):
            before = ", ".join(sorted({site for one in known for site in earlier.under_keys(one)}))
            rule = RULES["participants"]
            what = (
                f"refused: sums over the same patients were given together with {before}; now"
                f" they are asked over {', '.join(now)} (rule participants, protects"
                f" {rule.protects})"
            )
            remedy = f"tell the coordinator: {rule.remedy}"
            found.append(problem(ROSTER, subset, what, remedy))
    yield from or_ok(found, {ROSTER: "the same hospitals as before, or many others"})


# about the training patients as a whole; the other rules about them are on folds and rows
AT_ONCE = ("rows", "class", "svm_cost")


@dataclass(frozen=True)
class Own:
    """Input of the rules.

    Parameters
    ----------
    cohort : usable patients with assigned folds.
    """

    cohort: Cohort
    study: Study
    settings: SiteSettings

    @property
    def privacy(self) -> PrivacySettings:
        """Thresholds in force."""
        return stricter(self.study.privacy, self.settings.privacy)

    @property
    def trains(self) -> bool:
        """True when this site has training patients that the study uses."""
        named = self.cohort.site in self.study.training_sites
        return named and bool(self.cohort.subset(self.study, "train"))


@check("patients")
def check_rules(own: Own) -> Findings:
    """Apply every rule of enrolment: those that this site's patients alone decide."""
    foreseen = foretold(own.cohort, own.study, own.privacy)
    found = [_finding(own, one, "problem") for one in foreseen.stops]
    found += [_finding(own, one, "warning") for one in foreseen.withheld]
    trained = "nothing would be refused" if own.trains else "this site does not train"
    yield from or_ok(
        found,
        {
            "disclosure.enrolment": "nothing would be refused",
            "disclosure.training": trained,
            "disclosure.readings": _readings(own),
            "disclosure.test_set": "nothing would be withheld",
        },
    )


def _readings(own: Own) -> str:
    """Describe the patients that were read twice."""
    if "radiomics" not in own.study.tables or not own.trains:
        return "the study asks this site for none"
    masks = [set(p.masks) for p in own.cohort.subset(own.study, "train")]
    pairs = {pair: sum(set(pair) <= readings for readings in masks) for pair in READING_PAIRS}
    repeated = [f"{count} of {' and '.join(pair)}" for pair, count in pairs.items() if count]
    none = "no repeat readings: the site adds nothing to the intraclass correlation"
    return ", ".join(repeated) or none


def _kind(refusal: Refusal) -> str:
    if refusal.rule == "paired":
        return "disclosure.readings"
    if RULES[refusal.rule].remedy_here:
        return "disclosure.enrolment"
    if refusal.subset not in ("", TRAIN):
        return "disclosure.test_set"
    return "disclosure.enrolment" if refusal.rule in AT_ONCE else "disclosure.training"


def _finding(own: Own, refusal: Refusal, severity: Severity) -> Finding:
    described = RULES[refusal.rule]
    setting = described.setting
    remedy = "add patients"
    if setting:
        ours, theirs = getattr(own.privacy, setting), getattr(own.study.privacy, setting)
        whose = "the study's" if ours == theirs else "this site's own, in site.toml"
        remedy += f", or talk about privacy.{setting} ({whose})"
    least = f", at least {refusal.threshold:g} needed" if setting else ""
    return Finding(
        _kind(refusal),
        severity,
        "",
        f"refused: {patients_of(refusal.subset)}{least} (rule {refusal.rule}, protects"
        f" {described.protects})",
        described.remedy_here or remedy,
    )


@check("patients")
def check_masking(study: Study) -> Findings:
    """Check whether sums over sites are masked, or refused for lack of sites."""
    kind = "disclosure.masking"
    few = study.too_few_to_mask()
    for subset in few:
        yield problem(
            kind,
            subset,
            f"refused: sums over fewer than {FEWEST_MASKED} sites cannot be masked (rule sites)",
            'ask the coordinator for another site, or for masking = "where_possible"',
        )
    subsets = ("train", *(test.name for test in study.test_sets))
    clear = [s for s in subsets if not study.masked(s) and len(study.members(s)) > 1]
    open_ones = [subset for subset in clear if subset not in few]
    if open_ones:
        what = "sums go to the coordinator unmasked, as the study says"
        remedy = "decide with the privacy officer whether this is right"
        yield Finding(kind, "warning", ", ".join(open_ones), what, remedy)
    elif not few:
        yield ok(kind, "sums over sites are masked")


# decided by what was asked before, and tried on the whole sums of the study
_FORETOLD = ("participants",)


@check("patients")
def not_decided_here() -> Findings:
    """List the rules that this site alone cannot evaluate."""
    rest = [name for name, rule in RULES.items() if not (rule.decided_here or name in _FORETOLD)]
    why = "depend on the coordinator's questions or on the other hospitals' patients: "
    yield from not_checked(("disclosure.others",), why + ", ".join(rest))


BUDGET = "disclosure.budget"


@check("patients", disclosure_budget="the networks cost no more than the patients' budget")
def check_budget(cohort: Cohort, study: Study, settings: SiteSettings) -> Findings:
    """Add this study's trainings to those of the same patients in earlier runs and studies."""
    budget = PatientBudget.of(settings, study, cohort)
    planned = tuple(budget.whole_study())
    if not planned or (budget.most is None and not study.differential_privacy.on):
        yield from not_applicable((BUDGET,), "no network is trained here, or none with noise")
        return
    before = budget.epsilon(budget.spent())
    after = budget.epsilon((*budget.spent(), *planned))
    what = (
        f"epsilon {_number(before)} was spent on these patients so far, {_number(after)} with this"
        f" study, at delta {budget.delta:.2g}; max_epsilon in site.toml is"
        f" {_number(budget.most) if budget.most else 'not set'}"
    )
    if budget.exceeded_by((*budget.spent(), *planned)):
        rule = RULES["privacy_budget"]
        yield problem(BUDGET, "", f"refused: {what} (rule {rule.name})", rule.remedy_here)
    elif budget.most is None:
        yield warning(BUDGET, "", what, "decide with the privacy officer on a max_epsilon")
    else:
        yield ok(BUDGET, what)


def _number(epsilon: float) -> str:
    return "without bound" if math.isinf(epsilon) else f"{epsilon:.3g}"
