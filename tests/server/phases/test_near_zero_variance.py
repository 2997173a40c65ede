"""Columns that are nearly constant: they never enter a matrix of products, and nobody is asked."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from common.errors import RefusedError, StudyError
from common.messages.exchanges import SumItem
from common.statistics.exact import unpack
from common.statistics.gram import CrossProducts, FoldGram
from common.statistics.rank_gram import RankGram
from common.study.model import PrivacySettings, Study
from common.transforms import Select, Standardise
from common.transforms.views import table
from server.phases import clinical, near_zero_variance, standardise
from server.phases.batching import run_together
from server.phases.clinical import fit_clinical
from server.phases.components import principal_components
from server.phases.radiomics import fit_radiomics
from server.phases.spearman import spearman_filter
from tests import builders

COLUMNS = ("age", "dose", "stage", "site=middle", "site=lower", "site=other", "sign=yes")
PATIENT = 81  # at site b, in fold 1
GRAMS = (FoldGram, CrossProducts, RankGram)


def patients(n: int = 200) -> tuple[Any, Any]:
    """Forty a fold; one patient has the sign, and one received a dose."""
    random = np.random.default_rng(3)
    place = random.choice(4, n, p=[0.4, 0.3, 0.3, 0.0])
    place[:12] = 3
    sign, dose = np.zeros(n), np.zeros(n)
    sign[PATIENT], dose[PATIENT + 1] = 1.0, 7.5
    age = random.normal(60, 8, n)
    columns = [age, dose, random.integers(0, 3, n), place == 1, place == 2, place == 3, sign]
    label = (age + 6 * random.normal(size=n) > 61).astype(float)
    return np.column_stack(columns).astype(float), label


def study_of(**blocks: Any) -> Study:
    return builders.study(
        tests={"t": ("external_test", "abc")},
        clinical=[
            builders.number("age"),
            builders.number("dose"),
            builders.levels("stage", "1", "2", "3"),
            builders.levels("site", "upper", "middle", "lower", "other", kind="categorical"),
            builders.levels("sign", "no", "yes"),
        ],
        privacy={"masking": "off"},
        **blocks,
    )


@pytest.fixture
def study() -> Study:
    return study_of()


def sites(values: Any, label: Any, names: tuple[str, ...] = COLUMNS) -> Any:
    return builders.split(values, label, columns=names)


def in_grams(known: list[tuple[SumItem, Any]]) -> set[str]:
    """Columns that entered any matrix of products."""
    return {
        name
        for item, _ in known
        if isinstance(item.statistic, GRAMS)
        for name in item.view.outputs()
    }


def recovered(known: list[tuple[SumItem, Any]], column: str, fold: int) -> Any:
    """The attack: what a fold's sums tell of the one patient who has a 0/1 column."""
    item, gram = next((i, r) for i, r in known if isinstance(i.statistic, FoldGram))
    at = item.view.outputs().index(column)
    scaled = next(s for s in item.view.transforms if isinstance(s, Standardise))
    one = scaled.columns.index(column)
    low = -scaled.mean[one] / scaled.scale[one]
    high = min(3.0, (1.0 - scaled.mean[one]) / scaled.scale[one])
    products = unpack(gram.gram[fold], gram.p)[at]
    return (products - low * gram.sum_x[fold]) / (high - low)


def keep_all(study: Study, names: tuple[str, ...], found: Any) -> Any:
    """Do as a server without the rule would."""
    return np.ones(len(names), dtype=bool)


def columns_of(model: Any, step: str) -> Any:
    return next(s for s in model.selection["steps"] if s["step"] == step)["names"]


def test_a_column_with_one_positive_does_not_enter_a_gram(study: Study) -> None:
    federation = builders.federation(sites(*patients()), study)
    known = federation.known
    model = fit_clinical(federation)
    assert set(columns_of(model, "rare")) == {"dose", "site=other", "sign=yes"}
    assert in_grams(known) == {"age", "stage", "site=middle", "site=lower"}
    assert any("sign=yes" in note for note in model.selection["notes"])
    # one patient differs, too few to show
    assert model.selection["left_out"] == (
        {"column": "dose", "differ": None},
        {"column": "sign", "differ": None},
    )
    assert not federation.refusals


def test_without_the_rule_the_same_sums_are_the_patients_row(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, label = patients()
    monkeypatch.setattr(clinical, "frequent_clinical", keep_all)
    off = study.privacy.model_copy(update={"min_category": 0})
    open_study = study.model_copy(update={"privacy": off})
    federation = builders.federation(sites(values, label), open_study)
    known = federation.known
    fit_clinical(federation)
    assert "sign=yes" in in_grams(known)
    z = (values - values.mean(axis=0)) / values.std(axis=0)
    found = recovered(known, "sign=yes", PATIENT % 5)
    np.testing.assert_allclose(found, np.clip(z[PATIENT], -3, 3), atol=1e-5)


def test_a_server_that_leaves_such_a_column_in_is_refused_and_it_shows(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clinical, "frequent_clinical", keep_all)
    federation = builders.federation(sites(*patients()), study)
    with pytest.raises(RefusedError, match="rule support, threshold 5"):
        fit_clinical(federation)
    assert [(r["rule"], r["site"]) for r in federation.refusals] == [("support", "a")]


def test_counts_that_contradict_a_sites_own_rows_are_refused(study: Study) -> None:
    values, label = patients()
    federation = builders.federation(sites(values, label), study)
    view = table("clinical").then(Select(columns=("age",)))
    (scaled,), _ = standardise.standardise(federation, [view])
    (found,) = federation.sum_many(near_zero_variance.fold_histograms(study, [scaled]))
    true = found.support()
    lie = dataclasses.replace(true, apart=np.full_like(true.apart, 5.0))
    edges = np.array([[-np.inf, np.inf]])
    statistic = RankGram(edges=edges, counts=np.array([[200.0]]), support=lie)
    with pytest.raises(RefusedError, match="rule support"):
        federation.sum(statistic, scaled)
    federation.sum(dataclasses.replace(statistic, support=true), scaled)


@pytest.mark.parametrize(("ones", "stays"), [(5, True), (4, False), (0, True)])
def test_a_fold_holds_none_who_differ_or_enough(study: Study, ones: int, stays: bool) -> None:
    values, label = patients()
    last = np.arange(200) % 5 == 4
    values[:, 6] = (np.arange(200) // 5) % 2  # twenty in each of the other folds
    values[last, 6] = np.arange(40) < ones
    model = fit_clinical(builders.federation(sites(values, label), study))
    assert ("sign=yes" not in columns_of(model, "rare")) is stays


def test_a_rare_reference_level_is_joined_by_the_rarest_other(study: Study) -> None:
    values, label = patients()
    values[:, 3:6] = 0.0
    values[np.arange(200), 3 + (np.arange(200) % 20 >= 14)] = 1.0  # middle 140, lower 60
    values[:3, 3:6] = 0.0  # three at the reference level
    federation = builders.federation(sites(values, label), study)
    known = federation.known
    model = fit_clinical(federation)
    assert "site=lower" in columns_of(model, "rare")
    assert "site=middle" in in_grams(known)


def test_the_note_tells_a_rare_level_from_one_that_joins_a_rare_reference_level(
    study: Study,
) -> None:
    values, label = patients()
    values[:, 3:6] = 0.0
    values[np.arange(200), 3 + (np.arange(200) % 20 >= 14)] = 1.0  # middle 140, lower 60
    values[:3, 3:6] = 0.0  # three at the reference level, none at "other"
    notes = fit_clinical(builders.federation(sites(values, label), study)).selection["notes"]
    (few,) = [note for note in notes if note.startswith("too few patients differ in")]
    assert "sign=yes" in few and "site=lower" not in few
    assert (
        "too few patients have the reference level site=upper: site=lower, the rarest other level,"
        " joins it"
    ) in notes


def test_nothing_but_rare_columns_stops_with_a_remedy(study: Study) -> None:
    label = patients()[1]
    values = np.zeros((200, len(COLUMNS)))
    values[PATIENT] = 1.0
    with pytest.raises(StudyError, match=r"every column is nearly constant.*min_category"):
        fit_clinical(builders.federation(sites(values, label), study))


def test_a_feature_with_one_extreme_patient_is_dropped_before_ranks_and_gram(study: Study) -> None:
    random = np.random.default_rng(4)
    values = random.normal(size=(200, 6))
    values[:, 2] = 1e-9 * random.normal(size=200)
    values[PATIENT, 2] = 1.0
    values[:, 4] = np.exp(1.5 * values[:, 4])  # a heavy tail alone is no reason
    label = (values[:, 0] + random.normal(size=200) > 0).astype(float)
    federation = builders.federation(
        builders.split(values, label, table="radiomics", prefix="f"), study
    )
    known = federation.known
    model = fit_radiomics(federation)
    assert columns_of(model, "rare") == ("f2",)
    assert in_grams(known) == {"f0", "f1", "f3", "f4", "f5"}


def test_every_site_accepts_the_cells_of_ranks_under_strong_shifts(study: Study) -> None:
    random = np.random.default_rng(5)
    values = random.normal(size=(200, 12))
    hospital = np.repeat([0, 1, 2], [50, 90, 60])
    values += np.linspace(0, 12, 12) * hospital[:, None]  # from none to sites wholly apart
    federation = builders.federation(builders.split(values, (np.arange(200) // 5) % 2), study)
    raw = table("clinical").then(Select(columns=federation.columns("clinical")))
    (scaled,), _ = standardise.standardise(federation, [raw])
    ((filtered,),) = run_together(federation, spearman_filter(study, [scaled]))
    assert filtered.names
    assert not federation.refusals


def test_a_unit_that_answers_to_one_patient_takes_no_part_in_components(study: Study) -> None:
    random = np.random.default_rng(6)
    units = np.maximum(random.normal(size=(200, 8)), 0.0)
    units[:, 3] = 0.0
    units[:, 5] = 0.0
    units[PATIENT, 5] = 2.0
    federation = builders.federation(builders.split(units, (np.arange(200) // 5) % 2), study)
    known = federation.known
    raw = table("clinical").then(Select(columns=federation.columns("clinical")))
    (view,) = principal_components(federation, [raw], "pc")
    assert in_grams(known) == {f"x{i}" for i in (0, 1, 2, 4, 6, 7)}
    assert len(view.outputs()) == 6


def test_kernel_features_come_with_counts_of_rows_apart(study: Study) -> None:
    study = study_of(svm={"kernel": "rbf", "landmarks": 32})
    federation = builders.federation(sites(*patients()), study)
    known = federation.known
    model = fit_clinical(federation)
    assert model.selection["svm"]["kernel"] == "rbf"
    kernels = [i.statistic for i, _ in known if i.view.outputs()[0].startswith("kernel_")]
    grams = [statistic for statistic in kernels if isinstance(statistic, FoldGram)]
    assert grams
    assert all(g.support is not None and g.support.apart.min() >= 5 for g in grams)


def test_a_faithful_study_stops_where_a_site_did_not_agree(study: Study) -> None:
    faithful = PrivacySettings(mode="faithful", masking="off")
    federation = builders.federation(
        sites(*patients()), study.model_copy(update={"privacy": faithful})
    )
    with pytest.raises(RefusedError, match="rule bounded"):
        fit_clinical(federation)
