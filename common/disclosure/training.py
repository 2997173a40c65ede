"""Rules for everything computed on training patients: sums, weights, rows, rounds, enrolment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from common.disclosure.differencing import sets_too_close
from common.disclosure.refusing import Refusals, refusal
from common.messages.exchanges import Refusal
from common.statistics.base import Rows
from common.study.model import PrivacySettings, Study
from common.study.sums import left_in_clear


def fits_machines(study: Study) -> bool:
    """Return whether a study fits linear models or support vector machines over the sites."""
    models = {*study.base_models, *study.fusion_models}
    return bool({"clinical", "radiomics", "fusion_feature"} & models)


def smaller_class(rows: Rows) -> int:
    """Return the number of rows of the smaller class."""
    positives = int(np.count_nonzero(rows.label > 0.5))
    return min(positives, rows.n - positives)


def check_training_sum(rows: Rows, folds: int, privacy: PrivacySettings) -> Refusals:
    """Check a sum over training rows: enough rows, enough of each class, enough in every fold."""
    found: list[Refusal] = []
    if rows.n < privacy.min_rows:
        found.append(refusal("rows", privacy, "training rows"))
    if smaller_class(rows) < privacy.min_per_class:
        found.append(refusal("class", privacy, "training rows of one class"))
    smallest = min(int(np.count_nonzero(rows.fold == fold)) for fold in range(folds))
    if smallest < privacy.min_rows_per_fold:
        found.append(refusal("fold", privacy, "training rows of one fold"))
    return tuple(found)


def check_fold_classes(rows: Rows, folds: int, privacy: PrivacySettings) -> Refusals:
    """Check sums of a class in every fold: enough of each class in each."""
    inside = [rows.label[rows.fold == fold] > 0.5 for fold in range(folds)]
    fewest = min(int(min(own.sum(), (~own).sum())) for own in inside)
    if fewest < privacy.min_class_per_fold:
        return (refusal("fold_class", privacy, "training rows of one class in one fold"),)
    return ()


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
    if used < privacy.min_rows:
        found.append(refusal("rows", privacy, "training rows outside the folds left out"))
    others = len(study.training_sites) > 1
    if used > total or (others and used == total):
        found.append(refusal("weights", privacy, "share of the training rows"))
    return tuple(found)


def check_out_of_fold_rows(rows: Rows, privacy: PrivacySettings) -> Refusals:
    """Check the only row-level exchange: enough rows and enough of each class to hide among."""
    found: list[Refusal] = []
    if rows.n < privacy.min_oof_rows:
        found.append(refusal("out_of_fold_rows", privacy, "training rows"))
    if smaller_class(rows) < privacy.min_per_class:
        found.append(refusal("class", privacy, "training rows of one class"))
    return tuple(found)


def check_masking(study: Study, privacy: PrivacySettings, subsets: Iterable[str]) -> Refusals:
    """Refuse sums that the site's own file wants masked and this study would send in the clear."""
    short = left_in_clear(study, privacy.masking, subsets)
    return tuple(refusal("masking", privacy, f"sums over sites, {subset}") for subset in short)


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
        found.append(refusal("participants", privacy, "test sets that differ by few sites"))
    found.extend(check_masking(study, privacy, counts))
    if study.privacy.mode == "faithful" and privacy.mode != "faithful":
        found.append(refusal("consent", privacy, 'privacy.mode = "faithful" in site.toml'))
    if "train" in counts:
        rows, positives = counts["train"]
        if rows < privacy.min_rows:
            found.append(refusal("rows", privacy, "training rows"))
        if min(positives, rows - positives) < privacy.min_per_class:
            found.append(refusal("class", privacy, "training rows of one class"))
        weak = fits_machines(study) and max(study.svm.cost_grid) > 1.0
        if weak and rows < privacy.min_rows_weak_penalty:
            found.append(refusal("svm_cost", privacy, "training rows for a cost above 1"))
    return tuple(found)
