"""Check that clinical values are possible, near the others, not missing and not skewed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from client.check.finding import Finding, Findings, or_ok, problem, warning
from client.data.cohort import Patient
from common.statistics.base import Float
from common.study.model import ClinicalColumn, Study


@dataclass(frozen=True)
class Quantity:
    """Measure of a living patient that a column's name tells.

    Parameters
    ----------
    called : as a message calls it.
    words : words of a column's name that tell it.
    possible : lowest and highest value, by unit.
    """

    called: str
    words: frozenset[str]
    possible: Mapping[str, tuple[float, float]]


_LENGTHS = {"cm": (0.0, 250.0), "mm": (0.0, 2500.0)}
QUANTITIES = (
    Quantity(
        "an age",
        frozenset({"age"}),
        {"years": (0, 120), "months": (0, 1440), "days": (0, 43830)},
    ),
    Quantity("a weight", frozenset({"weight"}), {"kg": (0, 650)}),
    Quantity("a body mass index", frozenset({"bmi"}), {"kg/m2": (5, 150)}),
    Quantity("a length", frozenset({"height", "diameter", "length", "thickness"}), _LENGTHS),
)
# a difference has the unit of what it is a difference of, and may be negative
_DIFFERENCES = frozenset(
    {"change", "delta", "diff", "difference", "gain", "loss", "shift", "ratio", "score", "z"}
)
FEWEST_VALUES = 8
# of a normal column one value in 10^23 is that far out; a lognormal laboratory value may
FAR = 10.0
_QUARTILES_OF_A_DEVIATION = 1.349
MOSTLY_MISSING = 0.5
_STAND_IN = re.compile("-(?:9+|8+|7+|1)|99+|88+|77+")
"""Codes such as -9, 99 and 888; a single 9 is a number like any other."""
FEWEST_FOR_SKEWNESS = 20
# skewness of a normal column of 20 values stays below 1 but once in 50; with a deviation of 0.8 of
# the logarithms one value in 40 is more than five times the median
SKEWED, STRAIGHT, WIDE = 1.0, 1.0, 0.8


def check_values(patients: Sequence[Patient], study: Study) -> Findings:
    """Find values that are impossible in their unit, far from others, missing or very skewed."""
    found: list[Finding] = []
    for column in study.clinical:
        values = np.array([p.clinical[column.name] for p in patients], dtype=np.float64)
        found.extend(_missing(column, values))
        if column.kind == "continuous":
            ids = [p.patient_id for p in patients]
            found.extend(_stand_ins(column, values))
            found.extend(_units(column, values, ids))
            found.extend(_skewed(column, values))
    n = len(study.clinical)
    fine = dict.fromkeys(("cohort.units", "cohort.missing", "cohort.skewed"), f"{n} columns")
    return or_ok(found, fine)


def _missing(column: ClinicalColumn, values: Float) -> Findings:
    if not values.size:
        return
    share = float(np.isnan(values).mean())
    if share > MOSTLY_MISSING:
        yield warning(
            "cohort.missing",
            f"column {column.name}",
            f"{share:.0%} of the patients have no value",
            "fill the column where the values are known; the models fill it with means otherwise",
        )


def _stand_ins(column: ClinicalColumn, values: Float) -> Findings:
    """Warn of numbers that questionnaires and registers write for a missing value."""
    there = values[np.isfinite(values)]
    coded = np.array([_STAND_IN.fullmatch(f"{value:g}") is not None for value in there], dtype=bool)
    others = there[~coded]
    if others.size < FEWEST_VALUES:
        return
    low, high = float(others.min()), float(others.max())
    for value in np.unique(there[coded]).tolist():
        if (value < 0 <= low) or value > max(2 * high, 10):
            count = np.count_nonzero(there == value)
            yield warning(
                "cohort.missing",
                f"column {column.name}",
                f"{value:g} ({count} x) seems to stand for a missing value: the others are {low:g}"
                f" to {high:g}",
                f'empty these cells, or ask the coordinator to list "{value:g}" under missing in'
                " study.toml; models take it for a measurement otherwise",
            )


def _units(column: ClinicalColumn, values: Float, ids: Sequence[str]) -> Findings:
    quantity = quantity_of(column)
    low, high = quantity.possible[_plain(column.unit)] if quantity else (-np.inf, np.inf)
    middle, deviation = centre(values)
    for patient, value in zip(ids, values.tolist(), strict=True):
        where = f"{patient}: column {column.name}"
        if quantity and (value < low or value > high):
            what = (
                f"{value:g} is not possible for {quantity.called} in {column.unit}"
                f" ({low:g} to {high:g})"
            )
            remedy = (
                f"correct a slip, or give the value in {column.unit}; if the column does not hold"
                f" {quantity.called} in {column.unit}, ask the coordinator for another name or unit"
            )
            yield problem("cohort.units", where, what, remedy)
        elif abs(value - middle) > FAR * deviation:
            yield warning(
                "cohort.units",
                where,
                f"{value:g} is far from the other values (half of them are near {middle:g})",
                "check for a slip or another unit",
            )


def _skewed(column: ClinicalColumn, values: Float) -> Findings:
    if not suggests_logarithm(values):
        return
    table = "" if column.summary == "median" else ' in Table 1 summary = "median", and'
    yield warning(
        "cohort.skewed",
        f"column {column.name}",
        "most values are small and a few very large, as on a logarithmic scale",
        f"ask the coordinator for{table} a column with the logarithm in its place for the models",
    )


def suggests_logarithm(values: Float) -> bool:
    """Return whether positive values are skewed over a wide range, but hardly as logarithms."""
    there = values[np.isfinite(values)]
    if there.size < FEWEST_FOR_SKEWNESS or (there <= 0).any() or np.ptp(there) == 0:
        return False
    logarithms = np.log(there)
    straight = abs(float(scipy.stats.skew(logarithms))) < STRAIGHT
    return straight and float(logarithms.std()) > WIDE and float(scipy.stats.skew(there)) > SKEWED


def quantity_of(column: ClinicalColumn) -> Quantity | None:
    """Return what a column measures if both its name and its unit say so, else None.

    A unit alone tells no quantity: the depression of an ECG's ST segment is given in mm, too, and
    may be negative.

    >>> quantity_of(ClinicalColumn(name="age_at_surgery", kind="continuous", unit="years")).called
    'an age'
    >>> quantity_of(ClinicalColumn(name="oldpeak", kind="continuous", unit="mm")) is None
    True
    """
    words = set(re.findall("[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column.name).casefold()))
    if words & _DIFFERENCES:
        return None
    unit = _plain(column.unit)
    matching = (one for one in QUANTITIES if one.words & words and unit in one.possible)
    return next(matching, None)


def _plain(unit: str) -> str:
    return unit.strip().casefold().replace(" ", "").replace("²", "2").replace("^", "")


def centre(values: Float) -> tuple[float, float]:
    """Return the median, and the deviation of a normal column with the same quartiles.

    The deviation is infinite where there are few values, or half of them are the same.
    """
    there = values[np.isfinite(values)]
    if there.size < FEWEST_VALUES:
        return 0.0, np.inf
    first, middle, third = np.percentile(there, [25, 50, 75])
    spread = float(third - first) / _QUARTILES_OF_A_DEVIATION
    return float(middle), spread if spread > 0 else np.inf
