"""The block [analysis] of a study."""

from __future__ import annotations

from typing import Any

import pytest

from common.errors import InputError
from common.study.analysis import AnalysisSettings
from common.study.model import parse_study

STUDY = """
name = "s"
endpoint = "event"
base_models = ["clinical", "radiomics"]
fusion_models = ["fusion_decision"]
sites = [{ name = "a" }, { name = "b" }, { name = "c" }]
clinical = [{ name = "age", kind = "continuous" }]
test_sets = [{ name = "internal", split = "internal_test", sites = ["a", "b", "c"] }]
"""


def test_without_a_block_nothing_is_primary_and_thresholds_are_five_to_fifty_per_cent() -> None:
    found = parse_study(STUDY).analysis
    assert found == AnalysisSettings()
    assert (found.primary, found.thresholds) == (None, (0.05, 0.5))


def test_a_declared_comparison_is_read_and_part_of_what_hospitals_approve() -> None:
    declared = (
        STUDY + "[analysis]\nthresholds = [0.1, 0.3]\n[analysis.primary]\n"
        'model_a = "fusion_decision"\nmodel_b = "clinical"\nset = "internal"\n'
    )
    study = parse_study(declared)
    assert study.analysis.primary is not None
    assert study.analysis.primary.model_b == "clinical"
    assert study.digest() != parse_study(STUDY).digest()


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("thresholds = [0.5, 0.1]", "the lowest, then the highest"),
        ("thresholds = [0.0, 0.1]", "between 0 and 1"),
        ('primary = { model_a = "clinical", model_b = "clinical", set = "internal" }', "two"),
        ('primary = { model_a = "clinical", model_b = "dl3d", set = "internal" }', "dl3d is none"),
        ('primary = { model_a = "clinical", model_b = "radiomics", set = "x" }', "x is none"),
    ],
)
def test_what_cannot_be_compared_is_refused(lines: Any, why: str) -> None:
    with pytest.raises(InputError, match=why):
        parse_study(f"{STUDY}[analysis]\n{lines}\n")
