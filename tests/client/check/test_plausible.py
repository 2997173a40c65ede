"""Values in another unit are found; plausible ones are left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from client.check.finding import Finding
from client.check.plausible import centre, check_values, quantity_of, suggests_logarithm
from client.data.cohort import Patient
from common.study.model import Study, load_study
from tests import builders


@pytest.fixture
def study() -> Study:
    return builders.study(
        clinical=[builders.number("age", unit="years"), builders.number("diameter", unit="cm")]
    )


def patients(ages: list[float], diameters: list[float]) -> list[Patient]:
    return [
        Patient(f"p{i}", "a", 0, "train", 0, {"age": age, "diameter": diameter}, None, {})
        for i, (age, diameter) in enumerate(zip(ages, diameters, strict=True))
    ]


def faults(found: list[Finding]) -> list[tuple[str, str, str]]:
    return [(f.severity, f.kind, f.where) for f in found if f.severity != "ok"]


def test_an_age_in_months_and_a_diameter_in_mm_are_found(study: Study) -> None:
    ages = [58.0, 61, 63, 64, 66, 70, 71, 73, 744, 55]
    diameters = [1.2, 2.0, 2.2, 2.5, 2.6, 3.1, 3.3, 3.9, 3.0, 31.0]
    found = list(check_values(patients(ages, diameters), study))
    assert faults(found) == [
        ("problem", "cohort.units", "p8: column age"),
        ("warning", "cohort.units", "p9: column diameter"),
    ]
    assert str(found[0]) == (
        "p8: column age: 744 is not possible for an age in years (0 to 120) -> correct a slip, or"
        " give the value in years; if the column does not hold an age in years, ask the coordinator"
        " for another name or unit"
    )


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("oldpeak", "mm"),
        ("weight_change", "kg"),
        ("delta_length", "mm"),
        ("ejection_fraction_change", "%"),
        ("years_since_menopause", "years"),
        ("pressure_gradient", "mm Hg"),
        ("stage", "cm"),
        ("age", "weeks"),
    ],
)
def test_a_unit_alone_makes_no_value_impossible(name: str, unit: str) -> None:
    study = builders.study(clinical=[builders.number(name, unit=unit)])
    values = [-2.6, 0.0, 0.4, 0.6, 0.9, 1.0, 1.4, 1.5, 1.9, 2.1, 3.0, 0.2]
    found = check_values(
        [Patient(f"p{i}", "a", 0, "train", 0, {name: v}, None, {}) for i, v in enumerate(values)],
        study,
    )
    assert not faults(list(found))


def test_the_heart_example_takes_the_negative_values_of_its_hospitals() -> None:
    study = load_study(Path(__file__).resolve().parents[3] / "examples/heart/study.toml")
    empty = {column.name: float("nan") for column in study.clinical}
    rows = [{**empty, "oldpeak": value} for value in (-2.6, -0.5, 0.0, 0.0, 1.0, 2.0, 5.0)]
    found = check_values(
        [Patient(f"p{i}", "va", 0, "train", 0, row, None, {}) for i, row in enumerate(rows)], study
    )
    assert not [one for one in found if one.kind == "cohort.units" and one.severity != "ok"]


def test_few_values_and_columns_of_one_value_are_not_compared(study: Study) -> None:
    few = patients([50, 60, 70], [1, 2, 90])
    same = patients([60] * 10, [2.0] * 9 + [40.0])
    assert not faults(list(check_values(few, study)))
    assert not faults(list(check_values(same, study)))


def test_ordinary_spread_is_left_alone(study: Study) -> None:
    rng = np.random.default_rng(1)
    ages = rng.normal(62, 9, 500).clip(20, 100).round().tolist()
    diameters = np.exp(rng.normal(1, 0.5, 500)).tolist()
    assert not faults(list(check_values(patients(ages, diameters), study)))


def test_a_column_without_values_is_a_warning(study: Study) -> None:
    found = check_values(patients([np.nan] * 9 + [60.0], [2.0] * 10), study)
    assert faults(list(found)) == [("warning", "cohort.missing", "column age")]


@pytest.mark.parametrize(
    ("name", "unit", "called"),
    [
        ("BMI", "kg/m²", "a body mass index"),
        ("bmi_before", "kg / m^2", "a body mass index"),
        ("ageAtSurgery", "Years", "an age"),
        ("max_diameter_cm", "cm", "a length"),
    ],
)
def test_name_and_unit_together_tell_the_quantity(name: str, unit: str, called: str) -> None:
    quantity = quantity_of(builders.study(clinical=[builders.number(name, unit=unit)]).clinical[0])
    assert quantity and quantity.called == called


def test_the_quartiles_of_a_normal_column_give_its_deviation() -> None:
    values = np.random.default_rng(0).normal(10, 3, 100_000)
    assert centre(values) == pytest.approx((10, 3), rel=0.02)


@pytest.mark.parametrize("sigma", [1.2, 2.0, 3.0])
def test_a_column_that_suggests_a_logarithm_is_named(study: Study, sigma: float) -> None:
    rng = np.random.default_rng(1)
    ages, diameters = rng.normal(60, 9, 200), rng.lognormal(0.5, sigma, 200).clip(0.01, 240)
    found = list(check_values(patients(ages.tolist(), diameters.tolist()), study))
    skewed = [one for one in found if one.kind == "cohort.skewed"]
    assert faults(skewed) == [("warning", "cohort.skewed", "column diameter")]
    assert 'summary = "median"' in skewed[0].remedy
    median = study.clinical[1].model_copy(update={"summary": "median"})
    reported = study.model_copy(update={"clinical": (study.clinical[0], median)})
    again = list(check_values(patients(ages.tolist(), diameters.tolist()), reported))
    (remedy,) = [one.remedy for one in again if one.severity == "warning" and "skew" in one.kind]
    assert "summary" not in remedy and "logarithm" in remedy


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(2).normal(60, 9, 300),
        np.random.default_rng(2).uniform(1, 9, 300),
        np.random.default_rng(2).poisson(6, 300).astype(float),
        # one slip, zeros, few values, all the same
        np.append(np.random.default_rng(2).normal(50, 5, 300), 1e6),
        np.append(np.random.default_rng(2).lognormal(0, 2, 300), 0.0),
        np.random.default_rng(2).lognormal(0, 2, 12),
        np.full(60, 4.2),
        np.full(60, np.nan),
    ],
)
def test_other_columns_suggest_no_logarithm(values: np.ndarray) -> None:
    assert not suggests_logarithm(values)


@pytest.mark.parametrize(
    ("code", "seems"), [(-9, True), (-1, True), (999, True), (99, False), (8.8, False), (77, False)]
)
def test_a_number_that_stands_for_a_missing_value_is_a_warning(code: float, seems: bool) -> None:
    study = builders.study(clinical=[builders.number("crp", unit="mg/l")])
    values = [3.0, 12, 88, 41, 7, 9, 0.4, 66, 150, 25, code, code]
    found = check_values(
        [Patient(f"p{i}", "a", 0, "train", 0, {"crp": v}, None, {}) for i, v in enumerate(values)],
        study,
    )
    told = [one for one in found if one.kind == "cohort.missing" and one.severity == "warning"]
    assert [one.where for one in told] == ["column crp"] * seems
    assert all(one.what.startswith(f"{code:g} (2 x) seems to stand") for one in told)
