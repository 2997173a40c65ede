"""Rule for questions about some of the rows only.

A question that may choose its rows can be aimed: two that differ by one patient reveal that
patient. So rows are left out in one form only: test patients of one level of a stratum that the
study file declares, in the table that was fixed at the handout of the models, for histograms of
scores and their placements. No two strata can be combined.
"""

from __future__ import annotations

from common.disclosure.rule import Asked, Refusals, Rule, declare
from common.messages.plain import to_tree
from common.study.strata import level_view
from common.transforms import InLevel
from common.transforms.views import leaves_rows_out

ALLOWED = {"score_histogram", "placements"}


def check_levels(asked: Asked) -> Refusals:
    """Accept views of all rows, and views of exactly the allowed form."""
    if not leaves_rows_out(asked.view):
        return ()
    subject = f"some of the patients of {asked.subset}"
    if asked.trains or asked.statistic.rule not in ALLOWED or not _is_level_view(asked):
        return asked.refuse("levels", subject)
    return ()


def _is_level_view(asked: Asked) -> bool:
    step = asked.view.transforms[-1] if asked.view.transforms else None
    if not isinstance(step, InLevel) or step.column not in asked.study.strata:
        return False
    wanted, _ = to_tree(level_view(step.columns, step.column, step.level))
    given, _ = to_tree(asked.view)
    return bool(given == wanted)


declare(
    Rule(
        name="levels",
        protects="patients who are singled out by a question about some of the patients only",
        text=(
            "Sums over part of the patients are given in one form: histograms of scores, and"
            " placements made of them, for the test patients in one level of a column that the"
            " study declares a stratum. Levels cannot be combined, and a column is cut in two at"
            " one place a study, whatever its runs are called."
        ),
        fixed=1.0,
        remedy="run over the cohort and the cuts of the first evaluation",
        place=260,
    )
)
