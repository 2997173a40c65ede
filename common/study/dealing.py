"""Columns by whose levels training patients are dealt to cross-validation folds."""

from __future__ import annotations

from common.study.model import ClinicalColumn, Study


def dealt_columns(study: Study) -> tuple[ClinicalColumn, ...]:
    """Return the clinical columns whose rare levels decide the folds; see `client.data.folds`."""
    if study.privacy.min_category < 2 or "clinical" not in study.tables:
        return ()
    return tuple(c for c in study.clinical if c.kind in ("binary", "categorical"))


def asks_for_levels(study: Study) -> bool:
    """Return whether hospitals need the counts of all of them before they deal.

    A hospital that trains alone, such as the imagined one of a pooled reference, knows them.
    """
    return len(study.training_sites) > 1 and bool(dealt_columns(study))
