"""Rule for the dealing of folds."""

from __future__ import annotations

from common.disclosure.rule import Rule, SumQuery, declare


def check_totals(query: SumQuery) -> str:
    """Refuse totals of levels that leave out patients of this site."""
    return "patients with a level" if query.statistic.exceeded_by(query.rows) else ""


declare(
    Rule(
        name="dealing",
        protects="patients who would change folds between two dealings",
        text="Each hospital deals its training patients to folds so that patients with a rare level"
        " of a clinical column lie together, by the number that all hospitals have; it refuses"
        " numbers that its own patients contradict. The same patients are dealt once: two dealings"
        " that differ by a few would tell them by subtraction. The first one stands, in later runs"
        " and studies with the same seed, too.",
        fixed=1.0,
        sums=("dealing",),
        check=check_totals,
    )
)
