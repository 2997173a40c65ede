from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from server.report.figures import draw_figures
from server.report.performance import SIGNIFICANT
from server.report.reading import p_values
from server.report.results import parse
from server.report.selection_records import Correlation
from server.report.tables import csv_tables


def of(values: Any, n: int | None) -> Correlation:
    names = tuple(f"f{i}" for i in range(len(values)))
    return Correlation(names=names, values=tuple(map(tuple, values)), n=n)


def test_p_values_are_those_of_scipy_from_the_same_ranks() -> None:
    random = np.random.default_rng(2)
    rows = random.normal(size=(44, 6)) + random.normal(size=(44, 1))
    expected = stats.spearmanr(rows)
    found = p_values(of(expected.statistic.tolist(), 44))
    np.testing.assert_array_equal(np.isnan(found), np.eye(6, dtype=bool))
    apart = ~np.eye(6, dtype=bool)
    np.testing.assert_allclose(found[apart], expected.pvalue[apart], rtol=1e-9)


def test_the_same_ranks_twice_are_significant_and_nothing_is_said_without_patients() -> None:
    assert p_values(of([[1.0, 1.0], [1.0, 1.0]], 10))[0, 1] == 0.0
    assert np.isnan(p_values(of([[1.0, 0.5], [0.5, 1.0]], None))).all()
    assert np.isnan(p_values(of([[1.0, 0.5], [0.5, 1.0]], 2))).all()


@pytest.mark.parametrize("model", ["radiomics", "fusion_feature"])
def test_the_map_has_two_asterisks_for_every_significant_pair(
    tree: dict[str, Any], model: str
) -> None:
    chosen = {"federated": {model: tree["selection"]["federated"][model]}}
    results = parse({**{key: tree[key] for key in ("schema", "study", "run")}, "selection": chosen})
    found = results.selection["federated"][model].correlation
    assert found is not None
    marked = int((p_values(found) < SIGNIFICANT).sum())
    assert marked > 0
    (drawing,) = (d for d in draw_figures(results) if d.section == "correlation")
    assert drawing.svg.count(">*</text>") == marked


def test_the_table_has_the_p_of_every_pair(tree: dict[str, Any]) -> None:
    results = parse(tree)
    head, *rows = csv_tables(results)["correlation"]
    assert head == ["run", "model", "feature_a", "feature_b", "correlation", "p"]
    found = results.selection["federated"]["radiomics"].correlation
    assert found is not None
    p = p_values(found)
    for run, model, a, b, r, reported in rows:
        if (run, model) == ("federated", "radiomics"):
            i, j = found.names.index(str(a)), found.names.index(str(b))
            assert (r, reported) == (found.values[i][j], p[i, j])
    tree["selection"]["federated"]["radiomics"]["correlation"]["n"] = None
    unknown = csv_tables(parse(tree))["correlation"]
    assert {row[-1] for row in unknown[1:] if row[1] == "radiomics"} == {None}
