"""Disclosure rules as pure functions: checked at the site, before anything leaves.

Thresholds come from the study, a site may only tighten them. A refusal names the rule, the
threshold and the subject; never the value.
"""

from __future__ import annotations

import numpy as np

from common.exchanges import Refusal
from common.statistics.base import Rows
from common.study import PrivacySettings


def stricter(study: PrivacySettings, site: PrivacySettings | None) -> PrivacySettings:
    """The larger threshold of each; guarded wins over faithful."""
    if site is None:
        return study
    larger = {
        name: max(getattr(study, name), getattr(site, name))
        for name in PrivacySettings.model_fields
        if name != "mode"
    }
    mode = "guarded" if "guarded" in (study.mode, site.mode) else "faithful"
    return PrivacySettings(**larger, mode=mode)


def check_training_sum(rows: Rows, folds: int, privacy: PrivacySettings) -> tuple[Refusal, ...]:
    """A sum over training rows: enough rows, enough of each class, enough in every fold."""
    found: list[Refusal] = []
    if rows.n < privacy.min_rows:
        found.append(Refusal("rows", privacy.min_rows, "training rows"))
    positives = int(rows.label.sum())
    if min(positives, rows.n - positives) < privacy.min_per_class:
        found.append(Refusal("class", privacy.min_per_class, "training rows of one class"))
    smallest = min(int(np.count_nonzero(rows.fold == fold)) for fold in range(folds))
    if smallest < privacy.min_rows_per_fold:
        found.append(Refusal("fold", privacy.min_rows_per_fold, "training rows of one fold"))
    return tuple(found)


def check_out_of_fold_rows(rows: Rows, privacy: PrivacySettings) -> tuple[Refusal, ...]:
    """The one row-level exchange: enough rows and enough of each class to hide among."""
    found: list[Refusal] = []
    if rows.n < privacy.min_oof_rows:
        found.append(Refusal("out_of_fold_rows", privacy.min_oof_rows, "training rows"))
    positives = int(rows.label.sum())
    if min(positives, rows.n - positives) < privacy.min_per_class:
        found.append(Refusal("class", privacy.min_per_class, "training rows of one class"))
    return tuple(found)


def check_test_set(rows: Rows, subset: str, privacy: PrivacySettings) -> tuple[Refusal, ...]:
    """Measures of a site's own test patients: enough rows and enough of each class."""
    found: list[Refusal] = []
    if rows.n < privacy.min_rows:
        found.append(Refusal("test_rows", privacy.min_rows, f"patients of {subset}"))
    positives = int(rows.label.sum())
    if min(positives, rows.n - positives) < privacy.min_per_class:
        what = f"patients of one class of {subset}"
        found.append(Refusal("test_class", privacy.min_per_class, what))
    return tuple(found)
