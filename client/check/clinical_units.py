"""Clinical values in another unit than the study's, and columns that are empty or very skewed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from client.check.finding import Finding, Findings, or_ok, problem, warning
from client.data.cohort import Patient
from common.statistics.base import Float
from common.study.model import ClinicalColumn, Study

# what a living patient can have, by the unit that the study names
POSSIBLE: dict[str, tuple[float, float]] = {
    "years": (0, 120),
    "months": (0, 1440),
    "cm": (0, 250),
    "mm": (0, 2500),
    "kg": (0.2, 650),
    "kg/m2": (5, 150),
    "mmhg": (0, 400),
    "%": (0, 100),
    "percent": (0, 100),
    "/min": (0, 400),
    "bpm": (0, 400),
}
FEWEST_VALUES = 8
# of a normal column one value in 10^23 lies so far out; a lognormal laboratory value may
FAR = 10.0
_QUARTILES_OF_A_DEVIATION = 1.349
MOSTLY_MISSING = 0.5
FEWEST_FOR_SKEWNESS = 20
# skewness of a normal column of 20 values stays below 1 but once in 50; with a deviation of 0.8 of
# the logarithms one value in 40 is more than five times the median
SKEWED, STRAIGHT, WIDE = 1.0, 1.0, 0.8


def look_at_values(patients: Sequence[Patient], study: Study) -> Findings:
    """Find values that are impossible in their unit, far from others, missing or very skewed."""
    found: list[Finding] = []
    for column in study.clinical:
        values = np.array([p.clinical[column.name] for p in patients], dtype=np.float64)
        found.extend(_missing(column, values))
        if column.kind == "continuous":
            ids = [p.patient_id for p in patients]
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


def _units(column: ClinicalColumn, values: Float, ids: Sequence[str]) -> Findings:
    low, high = possible(column.unit)
    middle, deviation = centre(values)
    for patient, value in zip(ids, values.tolist(), strict=True):
        where = f"{patient}: column {column.name}"
        if value < low or value > high:
            what = f"{value:g} is not possible in {column.unit} ({low:g} to {high:g})"
            yield problem("cohort.units", where, what, "give the value in the study's unit")
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
    """Tell whether positive values are skewed over a wide range, and hardly so as logarithms."""
    there = values[np.isfinite(values)]
    if there.size < FEWEST_FOR_SKEWNESS or (there <= 0).any() or np.ptp(there) == 0:
        return False
    logarithms = np.log(there)
    straight = abs(float(stats.skew(logarithms))) < STRAIGHT
    return straight and float(logarithms.std()) > WIDE and float(stats.skew(there)) > SKEWED


def possible(unit: str) -> tuple[float, float]:
    """Lowest and highest value of a unit; without bounds where the unit is not known."""
    plain = unit.strip().casefold().replace(" ", "").replace("²", "2").replace("^", "")
    return POSSIBLE.get(plain, (-np.inf, np.inf))


def centre(values: Float) -> tuple[float, float]:
    """Median, and the deviation that the quartiles of a normal column tell.

    The deviation is infinite where there are few values, or half of them are the same.
    """
    there = values[np.isfinite(values)]
    if there.size < FEWEST_VALUES:
        return 0.0, np.inf
    first, middle, third = np.percentile(there, [25, 50, 75])
    spread = float(third - first) / _QUARTILES_OF_A_DEVIATION
    return float(middle), spread if spread > 0 else np.inf
