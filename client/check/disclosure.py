"""What this site would refuse to answer: the rules of `common.disclosure` on its own patients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from client.check.finding import Finding, Findings, Severity, not_checked, ok, or_ok, problem
from client.cohort import READING_PAIRS, Cohort
from client.prepared import PreparedImages
from client.site import SiteSettings
from client.state import RunTables
from client.tables import SiteTables
from common.disclosure import (
    DESCRIPTIONS,
    check_enrolment,
    check_out_of_fold_rows,
    check_sum,
    check_test_set,
    check_weights,
    stricter,
)
from common.disclosure.refusing import once
from common.disclosure.training import check_fold_classes
from common.exchanges import Refusal
from common.networks.schedule import validation_fold
from common.statistics.icc import PairedMoments
from common.statistics.moments import Means
from common.study import FEWEST_MASKED, PrivacySettings, Study
from common.views import Paired, Table, View, materialise, table

# of the others the coordinator's question or the other hospitals' patients decide
CHECKED = frozenset(
    {
        *(
            "sites",
            "masking",
            "rows",
            "class",
            "fold",
            "fold_class",
            "paired",
            "consent",
            "svm_cost",
        ),
        *("out_of_fold_rows", "test_rows", "test_class", "membership"),
    }
)
# of refusals that no patient more would lift
REMEDIES = {
    "consent": "decide with the privacy officer, and write it into site.toml",
    "masking": 'ask the coordinator for a study that masks, or change "masking" in site.toml',
    "participants": "ask the coordinator for a study with fewer test sets over the same patients",
}
KINDS = (
    "disclosure.enrolment",
    "disclosure.training",
    "disclosure.readings",
    "disclosure.test_set",
)


@dataclass(frozen=True)
class Own:
    """What the rules look at.

    Parameters
    ----------
    cohort : usable patients, their folds dealt.
    images : with features; None where none were prepared.
    """

    cohort: Cohort
    study: Study
    settings: SiteSettings
    images: PreparedImages | None

    @property
    def privacy(self) -> PrivacySettings:
        """Thresholds in force."""
        return stricter(self.study.privacy, self.settings.privacy)

    @cached_property
    def tables(self) -> SiteTables:
        """The base tables; nothing that a run would have made."""
        run = RunTables(self.settings.work, "check")
        return SiteTables(self.cohort, self.study, run, self.images)

    @property
    def subsets(self) -> tuple[str, ...]:
        """Subsets in which this site takes part and has patients."""
        named = [test.name for test in self.study.test_sets if self.cohort.site in test.sites]
        trains = ["train"] if self.cohort.site in self.study.training_sites else []
        return tuple(s for s in (*trains, *named) if self.cohort.subset(self.study, s))

    @property
    def trains(self) -> bool:
        """Whether this site has training patients that the study uses."""
        return "train" in self.subsets


def look_at_rules(own: Own) -> Findings:
    """Every rule that this site's patients alone decide, asked as the study would ask."""
    found = [*_enrolment(own)]
    told = {finding.what for finding in found}
    found += [one for one in _training(own) if one.what not in told]
    found += _test_sets(own)
    trained = "nothing would be refused" if own.trains else "this site does not train"
    fine = {
        "disclosure.enrolment": "nothing would be refused",
        "disclosure.training": trained,
        "disclosure.test_set": "nothing would be withheld",
    }
    yield from or_ok(found, fine)
    yield from _readings(own)


def _enrolment(own: Own) -> Findings:
    counts = {}
    for subset in own.subsets:
        patients = own.cohort.subset(own.study, subset)
        counts[subset] = (len(patients), sum(patient.label for patient in patients))
    refusals = check_enrolment(own.study, own.privacy, counts)
    yield from _told("disclosure.enrolment", "problem", own, refusals)


def _training(own: Own) -> Findings:
    if own.trains:
        yield from _told("disclosure.training", "problem", own, _training_refusals(own))


def _training_refusals(own: Own) -> Iterator[Refusal]:
    study, privacy = own.study, own.privacy
    rows = own.tables.read("coded", "train")
    yield from check_sum(Means(), rows, "train", study, privacy, table("coded"))
    if {"clinical", "radiomics", "fusion_feature"} & {*study.base_models, *study.fusion_models}:
        yield from check_fold_classes(rows, study.folds, privacy)
    if {"dl2d", "dl3d"} & set(study.base_models):
        blocks = {"dl2d": study.dl2d, "dl3d": study.dl3d}
        settings = [block for name, block in blocks.items() if name in study.base_models]
        for fold in range(-1, study.folds):
            left_out = {(fold, validation_fold(one, fold, study.folds)) for one in settings}
            for folds in sorted(left_out):
                # a total that is not this site's alone, as the coordinator would say
                yield from check_weights(rows, folds, rows.n + 1, study, privacy)
    if study.fusion.pooling == "rows":
        yield from check_out_of_fold_rows(rows, privacy)


def _test_sets(own: Own) -> Findings:
    for subset in own.subsets:
        if subset == "train":
            continue
        rows = own.tables.read("coded", subset)
        refusals = [*check_test_set(rows, subset, own.privacy)]
        if len(own.study.members(subset)) > 1:
            asked = (Means(), rows, subset, own.study, own.privacy, table("coded"))
            refusals += check_sum(*asked)
        yield from _told("disclosure.test_set", "warning", own, refusals)


def _readings(own: Own) -> Findings:
    """Repeat readings enter the intraclass correlation, from enough patients or not at all."""
    kind = "disclosure.readings"
    if "radiomics" not in own.study.base_models or not own.trains:
        yield ok(kind, "the study asks this site for none")
        return
    masks = [set(p.masks) for p in own.cohort.subset(own.study, "train")]
    pairs = [pair for pair in READING_PAIRS if any(set(pair) <= readings for readings in masks)]
    if not pairs:
        yield ok(kind, "no repeat readings: the site adds nothing to the intraclass correlation")
        return
    if own.images is None:
        yield from not_checked((kind,), "no features were extracted")
        return
    refusals = [refusal for pair in pairs for refusal in _paired(own, *pair)]
    fine = ", ".join(f"{sum(set(p) <= m for m in masks)} of {' and '.join(p)}" for p in pairs)
    yield from or_ok(_told(kind, "problem", own, refusals), {kind: fine})


def _paired(own: Own, first: str, second: str) -> Iterator[Refusal]:
    names = (
        "radiomics" if reading == "r1" else f"radiomics:{reading}" for reading in (first, second)
    )
    view = View(source=Paired(*(Table(name=name) for name in names)))
    rows = materialise(view, own.tables, "train")
    statistic = PairedMoments(mean=np.zeros(rows.p))
    found = check_sum(statistic, rows, "train", own.study, own.privacy, view)
    yield from (refusal for refusal in found if refusal.rule == "paired")


def _told(kind: str, severity: Severity, own: Own, refusals: Iterable[Refusal]) -> Findings:
    for refusal in once(refusals):
        described = DESCRIPTIONS[refusal.rule]
        setting = described.setting
        remedy = "add patients"
        if setting:
            ours, theirs = getattr(own.privacy, setting), getattr(own.study.privacy, setting)
            whose = "the study's" if ours == theirs else "this site's own, in site.toml"
            remedy += f", or talk about privacy.{setting} ({whose})"
        least = f", at least {refusal.threshold:g} needed" if setting else ""
        remedy = REMEDIES.get(refusal.rule, remedy)
        yield Finding(
            kind,
            severity,
            "",
            f"refused: {refusal.subject}{least} (rule {refusal.rule}, protects"
            f" {described.protects})",
            remedy,
        )


def look_at_masking(study: Study) -> Findings:
    """Whether sums over sites are masked, or refused for lack of sites."""
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


def not_decided_here() -> Findings:
    """The rules that this site alone cannot try out."""
    rest = [rule for rule in DESCRIPTIONS if rule not in CHECKED]
    why = "depend on the coordinator's questions or on the other hospitals' patients: "
    yield from not_checked(("disclosure.others",), why + ", ".join(rest))
