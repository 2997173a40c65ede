"""Check a sum against every rule for it; a statistic that no rule is for is an error."""

from __future__ import annotations

from typing import Any

from common.disclosure.forms import FormError, check_form, is_own_table
from common.disclosure.levels import check_levels
from common.disclosure.rule import Asked, Refusals, describes, once, rules_of
from common.disclosure.training import check_training_sum
from common.statistics.base import Rows
from common.study.model import PrivacySettings, Study
from common.transforms.views import View


def check_sum(
    statistic: Any,
    rows: Rows,
    subset: str,
    study: Study,
    privacy: PrivacySettings,
    view: View,
) -> Refusals:
    """Return the refusals of a sum that a site's rows would enter; none where it may.

    Parameters
    ----------
    statistic : what is asked for; its `rule` names the kind that rules are for.
    rows : the site's rows that `view` stands for.
    subset : "train" or a test set.
    privacy : thresholds in force at the site, see `stricter`.

    Raises
    ------
    ValueError : a statistic of a kind that no rule is for. KeyError : an unknown subset.
    """
    rules = rules_of(statistic.rule)
    if not rules:
        raise ValueError(f"no disclosure rule is called {statistic.rule!r}")
    asked = Asked(statistic, view, rows, subset, study, privacy)
    aimed = check_levels(asked)
    if aimed:
        return aimed
    try:
        check_form(view, study)
    except FormError as error:
        return asked.refuse("form", str(error))
    if not asked.trains:
        study.test_set(subset)
        if not describes(statistic.rule):
            return asked.refuse("subset", f"a sum over patients of {subset}")
    found = once(one for rule in rules if rule.check for one in rule.check(asked))
    if asked.trains:
        return once((*check_training_sum(rows, study.folds, privacy), *found))
    if not found and asked.alone and not is_own_table(view):
        return asked.refuse("form", f"a view of {subset}, held by one site")
    return found
