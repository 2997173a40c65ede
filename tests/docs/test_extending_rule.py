"""The worked example of docs/extending.md adds a disclosure rule in one file."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import common.disclosure
from client.gate.schema import are_refusals
from common.disclosure.rule import RULES, forget, rules_of
from common.dossier.general import rules_section
from common.errors import RefusedError
from common.messages.exchanges import Refusal, Refused
from common.statistics.counts import LevelCounts
from common.statistics.moments import Means

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "extending" / "rule.py"
MOSTLY = 0.6


@pytest.fixture
def example(tmp_path: Path) -> Iterator[None]:
    """The example in the folder of rules, and nothing else anywhere."""
    added = tmp_path / "rules"
    added.mkdir()
    shutil.copy(EXAMPLE, added / "missing.py")
    with pytest.MonkeyPatch.context() as patch:
        paths = [*common.disclosure.__path__, str(added)]
        patch.setattr(common.disclosure, "__path__", paths)
        common.disclosure.find_rules()
        yield
    forget("missing")
    del sys.modules["common.disclosure.missing"]


@pytest.mark.usefixtures("example")
@pytest.mark.parametrize("statistic", [Means(), LevelCounts(levels=3)])
def test_a_hospital_that_lacks_most_values_refuses(grades: Any, statistic: Any) -> None:
    with pytest.raises(RefusedError, match="the few patients of a hospital who have a") as refused:
        grades(MOSTLY).ask(statistic)
    assert "site b" in str(refused.value) and "rule missing, threshold 0.5" in str(refused.value)
    assert f" -> {RULES['missing'].remedy}" in str(refused.value)


@pytest.mark.usefixtures("example")
def test_with_few_missing_the_masked_sum_is_the_pooled_one(grades: Any) -> None:
    hospitals = grades(0.4)
    assert hospitals.study.masked("train")
    pooled = hospitals.pooled()
    assert np.isnan(pooled.values).sum() == 20
    mean = hospitals.ask(Means()).mean
    np.testing.assert_allclose(mean, np.nanmean(pooled.values, axis=0), rtol=1e-12)


def test_without_the_file_the_few_who_have_a_value_are_summed(grades: Any) -> None:
    hospitals = grades(MOSTLY)
    assert np.isfinite(hospitals.ask(Means()).mean).all()


@pytest.mark.usefixtures("example")
def test_gate_dossier_and_lists_have_the_rule(grades: Any) -> None:
    assert [rule.name for rule in rules_of("cells")] == ["rows", "cells", "missing"]
    assert list(RULES)[-1] == "missing"
    assert "| `missing` | the few patients of a hospital who have a value |" in rules_section()
    study = grades().study
    said = Refused((Refusal("missing", 0.5, "train"),))
    assert are_refusals(said, study, study.privacy, study.site_names[0])
    forged = Refused((Refusal("missing", 0.5, "Muster"),))
    assert not are_refusals(forged, study, study.privacy, study.site_names[0])
