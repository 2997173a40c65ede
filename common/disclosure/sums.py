"""Entry point of the rules for sums: every statistic names its rule, so none is skipped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from common.disclosure.asked import Asked
from common.disclosure.forms import FormError, check_form, is_own_table
from common.disclosure.grams import check_bounded, check_fold_gram, check_gram, check_rank_gram
from common.disclosure.levels import check_levels
from common.disclosure.refusing import Refusals, once
from common.disclosure.scores import check_bin_counts, check_placements, check_scores
from common.disclosure.tables import allow, check_cells, check_paired, check_quartiles, check_rows
from common.disclosure.training import check_training_sum
from common.statistics.base import Rows
from common.study.model import PrivacySettings, Study
from common.transforms.views import View

Rule = Callable[[Asked], Refusals]

# on top of the rules for every sum over training rows
RULES: dict[str, Rule] = {
    "rows": check_rows,
    "paired": check_paired,
    "folds": allow,
    "cells": check_cells,
    "rank_histogram": check_cells,
    "quartiles": check_quartiles,
    "support": check_cells,
    "rank_gram": check_rank_gram,
    "gram": check_gram,
    "fold_gram": check_fold_gram,
    "gradient": check_bounded,
    "platt": allow,
    "bin_counts": check_bin_counts,
    "score_histogram": check_scores,
    "scores": check_scores,
    "placements": check_placements,
}
# statistics that describe test patients; all others serve to fit a model
DESCRIBES = {
    "rows",
    "cells",
    "rank_histogram",
    "quartiles",
    "score_histogram",
    "scores",
    "placements",
}


def check_sum(
    statistic: Any,
    rows: Rows,
    subset: str,
    study: Study,
    privacy: PrivacySettings,
    view: View,
) -> Refusals:
    """Return the refusals of a sum; empty when a site may add its rows.

    Parameters
    ----------
    statistic : the statistic asked for; its `rule` names the rule.
    rows : the site's rows of `view`.
    subset : "train" or a test set.
    privacy : thresholds in force at the site, see `stricter`.

    Raises
    ------
    ValueError : a statistic with an unknown rule. KeyError : a subset the study does not have.
    """
    rule = RULES.get(statistic.rule)
    if rule is None:
        raise ValueError(f"no disclosure rule is called {statistic.rule!r}")
    asked = Asked(statistic, view, rows, subset, study, privacy)
    aimed = check_levels(asked)
    if aimed:
        return aimed
    try:
        check_form(view, study)
    except FormError as error:
        return asked.refuse("form", str(error))
    if asked.trains:
        return once((*check_training_sum(rows, study.folds, privacy), *rule(asked)))
    study.test_set(subset)
    if statistic.rule not in DESCRIBES:
        return asked.refuse("subset", f"a sum over patients of {subset}")
    found = once(rule(asked))
    if not found and asked.alone and not is_own_table(view):
        return asked.refuse("form", f"a view of {subset}, held by one site")
    return found
