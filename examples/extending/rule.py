"""Refuse counts and means of a column in which most of a hospital's values are missing."""

from __future__ import annotations

import numpy as np

from common.disclosure.rule import Rule, SumQuery, declare


def check_missing(query: SumQuery) -> str:
    """Refuse a sum over a column in which more than half of this site's values are missing."""
    missing = np.isnan(query.rows.values).sum(axis=0)
    return "values of a column" if (2 * missing > query.rows.n).any() else ""


declare(
    Rule(
        name="missing",
        protects="the few patients of a hospital who have a value",
        text=(
            "Where most patients of a hospital lack a value, those who have one are few and known."
            " A hospital gives no mean and no counts of such a column."
        ),
        fixed=0.5,
        sums=("rows", "cells"),
        check=check_missing,
        remedy="leave the column out of the study, or that hospital out of the set of patients",
    )
)
