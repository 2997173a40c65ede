"""Check a sum against every rule for it; a statistic that no rule is for is an error."""

from __future__ import annotations

from typing import Any

from common.disclosure.forms import FormError, check_form, is_own_table
from common.disclosure.rule import (
    Refusals,
    Rule,
    SumQuery,
    declare,
    describes,
    once,
    refusal,
    rules_of,
)
from common.disclosure.training import check_training_sum
from common.messages.plain import to_tree
from common.statistics.base import Rows
from common.study.model import PrivacySettings, Study
from common.study.strata import level_view
from common.transforms import InLevel
from common.transforms.views import View, leaves_rows_out

# A question that may choose its rows can be aimed: two that differ by one patient reveal that
# patient. So rows are left out in one form only, in the table that was fixed at the handout of the
# models, and no two strata can be combined.
ALLOWED = {"score_histogram", "placements", "calibration"}


def check_levels(query: SumQuery) -> Refusals:
    """Accept views of all rows, and views of exactly the allowed form."""
    if not leaves_rows_out(query.view):
        return ()
    if query.trains or query.statistic.kind not in ALLOWED or not _is_level_view(query):
        return query.refuse("levels")
    return ()


def _is_level_view(query: SumQuery) -> bool:
    step = query.view.transforms[-1] if query.view.transforms else None
    if not isinstance(step, InLevel) or step.column not in query.study.strata:
        return False
    wanted, _ = to_tree(level_view(step.columns, step.column, step.level))
    given, _ = to_tree(query.view)
    return bool(given == wanted)


declare(
    Rule(
        name="levels",
        protects="patients who are singled out by a question about some of the patients only",
        text="Sums over part of the patients are given in one form: histograms of scores, and"
        " placements and calibration made of them, for the test patients in one level of a column"
        " that the study declares a stratum. Levels cannot be combined, and a column is cut in two"
        " at one place a study, whatever its runs are called.",
        fixed=1.0,
        remedy="run over the cohort and the cuts of the first evaluation",
    )
)


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
    statistic : what is asked for; its `kind` decides which rules apply.
    rows : the site's rows that `view` stands for.
    subset : "train" or a test set.
    privacy : thresholds in force at the site, see `stricter`.

    Raises
    ------
    ValueError : a statistic of a kind that no rule is for. KeyError : an unknown subset.
    """
    rules = rules_of(statistic.kind)
    if not rules:
        raise ValueError(f"no disclosure rule is for sums of kind {statistic.kind!r}")
    query = SumQuery(statistic, view, rows, subset, study, privacy)
    if aimed := check_levels(query):
        return aimed
    try:
        check_form(view, study)
    except FormError as error:
        return query.refuse("form", str(error))
    if not query.trains:
        study.test_set(subset)
        if not describes(statistic.kind):
            return query.refuse("subset")
    broken = [(rule.name, rule.check(query)) for rule in rules if rule.check]
    found = once(refusal(name, privacy, subset, why) for name, why in broken if why)
    if query.trains:
        return once((*check_training_sum(rows, study.folds, privacy), *found))
    if not found and query.alone and not is_own_table(view):
        return query.refuse("form", "a view of a set that one site holds alone")
    return found
