"""Rules for everything computed on training patients: sums, weights, rows, rounds, enrolment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from common.disclosure.differencing import sets_too_close
from common.disclosure.rule import TRAIN, Refusals, Rule, declare, fall_short, once, refusal
from common.messages.exchanges import Refusal
from common.statistics.base import Rows
from common.study.model import FEWEST_MASKED, PrivacySettings, Study
from common.study.sums import left_in_clear


def fits_machines(study: Study) -> bool:
    """Return whether a study fits linear models or support vector machines over the sites."""
    selects = bool(study.networks) and study.selection.networks != "off"
    models = (*study.base_models, *study.fusion_models)
    return selects or any(study.fits_machine(name) for name in models)


def smaller_class(rows: Rows) -> int:
    """Return the number of rows of the smaller class."""
    positives = int(np.count_nonzero(rows.label > 0.5))
    return min(positives, rows.n - positives)


def check_training_sum(rows: Rows, folds: int, privacy: PrivacySettings) -> Refusals:
    """Check a sum over training rows: enough rows, enough of each class, enough in every fold."""
    smallest = min(int(np.count_nonzero(rows.fold == fold)) for fold in range(folds))
    found = {"rows": rows.n, "class": smaller_class(rows), "fold": smallest}
    return fall_short(privacy, TRAIN, found)


def check_fold_classes(rows: Rows, folds: int, privacy: PrivacySettings) -> Refusals:
    """Check sums of a class in every fold: enough of each class in each."""
    inside = [rows.label[rows.fold == fold] > 0.5 for fold in range(folds)]
    fewest = min(int(min(own.sum(), (~own).sum())) for own in inside)
    return fall_short(privacy, TRAIN, {"fold_class": fewest})


def check_weights(
    rows: Rows, left_out: Sequence[int], total: int, study: Study, privacy: PrivacySettings
) -> Refusals:
    """Check a site's change of a network: enough training rows, weighted by their share of all.

    Parameters
    ----------
    rows : the site's training rows.
    left_out : folds left out; -1 is no fold.
    total : training rows over all sites without these folds, as stated by the coordinator.
    """
    found = list(check_training_sum(rows, study.folds, privacy))
    used = int(np.count_nonzero(~np.isin(rows.fold, left_out)))
    found.extend(fall_short(privacy, TRAIN, {"rows": used}, "outside the folds left out"))
    others = len(study.training_sites) > 1
    if used > total or (others and used == total):
        found.append(refusal("weights", privacy, TRAIN))
    return once(found)


def check_masking(study: Study, privacy: PrivacySettings, subsets: Iterable[str]) -> Refusals:
    """Refuse sums that the site's own file wants masked and this study would send in the clear."""
    short = left_in_clear(study, privacy.masking, subsets)
    return tuple(refusal("masking", privacy, subset) for subset in short)


def check_enrolment(
    study: Study, privacy: PrivacySettings, counts: Mapping[str, tuple[int, int]]
) -> Refusals:
    """Return all that a site can refuse before anything is computed.

    Patients and positives of every subset are sent at enrolment, even where they are few: the
    roster, the weighting and the report need them. A site that does not want to send them takes no
    part in the test set.

    Parameters
    ----------
    privacy : thresholds in force at the site.
    counts : patients and positives by subset.
    """
    found: list[Refusal] = []
    if sets_too_close(study) is not None:
        found.append(refusal("participants", privacy, "", "test sets that differ by few sites"))
    found.extend(check_masking(study, privacy, counts))
    if study.privacy.mode == "faithful" and privacy.mode != "faithful":
        found.append(refusal("consent", privacy, ""))
    if "train" in counts:
        rows, positives = counts["train"]
        own = {"rows": rows, "class": min(positives, rows - positives)}
        if fits_machines(study) and max(study.cost_grid) > 1.0:
            own["svm_cost"] = rows
        found.extend(fall_short(privacy, TRAIN, own))
    return once(found)


declare(
    Rule(
        name="sites",
        protects="what one hospital contributes to a sum",
        text="Sums and weights are masked, which takes at least three hospitals: of two, each"
        " could take its own numbers off the sum and would hold the other's.",
        fixed=FEWEST_MASKED,
        decided_here=True,
        remedy='add a site, or write masking = "where_possible" or "off" openly in the study',
    ),
    Rule(
        name="masking",
        protects="what one hospital contributes to a sum",
        text="A hospital whose own site file asks for masks takes no part in a study that sends"
        " its sums in the clear: required allows no sum over hospitals without masks,"
        " where_possible none over three hospitals and more.",
        fixed=1.0,
        decided_here=True,
        remedy="mask the study's sums, or say less under [privacy] in that hospital's site.toml",
        remedy_here='ask the coordinator for a study that masks, or change "masking" in site.toml',
    ),
    Rule(
        name="class",
        protects="the few patients of the rarer outcome",
        text="A hospital trains only with at least this many patients of each outcome.",
        setting="min_per_class",
        decided_here=True,
    ),
    Rule(
        name="fold",
        protects="the few patients of one fold of the cross-validation",
        text="Sums are made for each fold, so each fold must hold at least this many of the"
        " hospital's patients.",
        setting="min_rows_per_fold",
        decided_here=True,
    ),
    Rule(
        name="consent",
        protects="patients with extreme values",
        text="A study that does not limit extreme values needs this hospital's explicit consent in"
        " its own site file.",
        fixed=1.0,
        decided_here=True,
        remedy='write mode = "faithful" under [privacy] in that hospital\'s site.toml, or leave it',
        remedy_here="decide with the privacy officer, and write it into site.toml",
    ),
    Rule(
        name="subset",
        protects="test patients",
        text="Nothing that a model is fitted with is computed on test patients.",
        sums=("folds", "platt"),
    ),
    Rule(
        name="weights",
        protects="what one hospital's patients change in a network",
        text="A hospital's change of the weights enters the sum with its share of the training"
        " patients, never with more.",
        fixed=1.0,
    ),
    Rule(
        name="svm_cost",
        protects="patients that a weakly penalised machine would memorise",
        text="Costs above 1 let single patients shape a support vector machine. A hospital with"
        " fewer training patients than this refuses a study with such costs.",
        setting="min_rows_weak_penalty",
        decided_here=True,
        way="costs of at most 1 in [svm] of study.toml",
    ),
)
