"""Records of areas within the levels of a clinical column."""

from __future__ import annotations

from typing import Literal

from server.report.schema_base import Count, MaybeCount, ModelName, Number, Record, RunName, Share


class Stratum(Record):
    """AUC within one level of a clinical column; null = too few patients, `note` says so."""

    run: RunName
    set: str
    model: ModelName
    variable: str
    level: str
    n: MaybeCount = None
    positives: MaybeCount = None
    auc: Share = None
    ci_low: Share = None
    ci_high: Share = None
    ci_method: Literal["", "delong", "newcombe"] = ""
    note: str = ""


class StratumTest(Record):
    """Whether the AUC of a model differs between the levels of a column that have one.

    Cochran's Q over `levels` levels, chi-square with one degree of freedom fewer; of two levels it
    is the square of the z of two independent areas. Null = not tested, `note` says why.
    """

    run: RunName
    set: str
    model: ModelName
    variable: str
    levels: Count
    statistic: Number = None
    p: Share = None
    note: str = ""
