"""Predicted refusals of a site equal those of the rules on the study's messages."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from client.check.cohort import check_counts, count
from client.check.disclosure import (
    Own,
    check_masking,
    check_rules,
    foretold,
    not_decided_here,
)
from client.check.finding import Finding
from client.data.cohort import assign_folds, read_cohort
from client.site import SiteSettings
from common.disclosure.rule import RULES, patients_of
from common.study.model import PrivacySettings, Study, load_study


@pytest.fixture
def study(tabular_master: Path) -> Study:
    return load_study(tabular_master / "study.toml")


Reader = Callable[..., Own]


@pytest.fixture
def own(tabular_master: Path, study: Study) -> Reader:
    """A site's patients, fewer if asked for."""

    def read(
        site: str, train: int = 99, privacy: PrivacySettings | None = None, **changes: object
    ) -> Own:
        changed = study.model_copy(update=changes)
        cohort = read_cohort(tabular_master / site, site, changed)
        training = [p for p in cohort.patients if p.split == "train"][:train]
        others = [p for p in cohort.patients if p.split != "train"]
        cohort.patients = assign_folds([*training, *others], changed)
        return Own(cohort, changed, SiteSettings(name=site, privacy=privacy))

    return read


def faults(rows: Iterable[Finding]) -> list[Finding]:
    return [row for row in rows if row.severity not in ("ok", "not checked")]


def rules(rows: Iterable[Finding]) -> set[tuple[str, str]]:
    return {(row.kind, row.what.split("(rule ")[1].split(",")[0]) for row in faults(rows)}


def test_a_site_with_enough_patients_refuses_nothing(own: Reader) -> None:
    assert not faults(check_rules(own("a")))


def test_few_training_patients_are_refused_by_every_rule_that_they_fall_short_of(
    own: Reader,
) -> None:
    found = check_rules(own("a", train=9))
    assert rules(found) == {
        ("disclosure.enrolment", "rows"),
        ("disclosure.enrolment", "class"),
        ("disclosure.training", "fold"),
        ("disclosure.training", "fold_class"),
        ("disclosure.training", "out_of_fold_rows"),
    }


def test_no_rows_leave_where_the_forest_grows_from_counts(own: Reader, study: Study) -> None:
    fusion = study.fusion.model_copy(update={"pooling": "bins"})
    found = check_rules(own("a", train=19, fusion=fusion))
    assert ("disclosure.training", "out_of_fold_rows") not in rules(found)


def test_a_threshold_of_the_site_itself_is_named_as_such(own: Reader) -> None:
    (row,) = faults(check_rules(own("a", privacy=PrivacySettings(min_rows=61))))[:1]
    assert "at least 61 needed" in row.what
    assert "this site's own, in site.toml" in row.remedy


def test_a_small_test_set_is_withheld_with_a_warning(own: Reader) -> None:
    # site c has 10 internal test patients, 4 of them positive
    (row,) = faults(check_rules(own("c")))
    assert (row.kind, row.severity) == ("disclosure.test_set", "warning")
    assert "patients of internal, at least 5 needed (rule test_class" in row.what


def test_a_study_of_plain_values_needs_the_sites_own_word(own: Reader, study: Study) -> None:
    privacy = study.privacy.model_copy(update={"mode": "faithful"})
    plain = dataclasses.replace(own("a"), study=study.model_copy(update={"privacy": privacy}))
    (row,) = faults(check_rules(plain))
    assert "rule consent" in row.what
    assert "privacy officer" in row.remedy
    allowed = SiteSettings(name="a", privacy=PrivacySettings(mode="faithful"))
    assert not faults(check_rules(dataclasses.replace(plain, settings=allowed)))


def test_a_study_that_sends_in_the_clear_what_the_site_wants_masked_is_a_problem(
    own: Reader, study: Study
) -> None:
    privacy = study.privacy.model_copy(update={"masking": "off"})
    plain = own("a", privacy=PrivacySettings(masking="required"))
    plain = dataclasses.replace(plain, study=study.model_copy(update={"privacy": privacy}))
    found = list(check_rules(plain))
    assert rules(found) == {("disclosure.enrolment", "masking")}
    assert "ask the coordinator for a study that masks" in faults(found)[0].remedy


def test_a_site_that_only_tests_is_not_asked_for_training(own: Reader, study: Study) -> None:
    sites = tuple(s.model_copy(update={"trains": s.name != "c"}) for s in study.sites)
    rows = list(check_rules(own("c", train=0, sites=sites)))
    (training,) = (row for row in rows if row.kind == "disclosure.training")
    assert (training.severity, training.what) == ("ok", "this site does not train")


@pytest.mark.parametrize("site", ["a", "b", "c"])
@pytest.mark.parametrize(
    "stricter_than_the_study",
    [
        {"min_rows": 46},
        {"min_rows": 41, "min_per_class": 17, "min_cell": 4},
        {"min_rows_per_fold": 10, "min_class_per_fold": 4, "min_oof_rows": 50},
        {"masking": "required", "min_rows": 1000},
    ],
    ids=str,
)
def test_what_enrolment_would_refuse_or_withhold_is_listed_and_nothing_else(
    own: Reader, site: str, stricter_than_the_study: dict[str, object]
) -> None:
    mine = own(site, privacy=PrivacySettings.model_validate(stricter_than_the_study))
    reported = foretold(mine.cohort, mine.study, mine.privacy)
    found = list(check_rules(mine))
    by_severity = {"problem": reported.stops, "warning": reported.withheld}
    for severity, refusals in by_severity.items():
        listed = [row.what for row in found if row.severity == severity]
        assert len(listed) == len(refusals)
        for one in refusals:
            whose = patients_of(one.subset)
            assert any(whose in what and f"(rule {one.rule}," in what for what in listed)


def test_two_sites_cannot_be_masked(study: Study) -> None:
    two = study.model_copy(update={"sites": study.sites[:2], "test_sets": ()})
    (row,) = check_masking(two)
    assert (row.severity, row.where) == ("problem", "train")
    privacy = two.privacy.model_copy(update={"masking": "where_possible"})
    (row,) = check_masking(two.model_copy(update={"privacy": privacy}))
    assert (row.severity, row.where) == ("warning", "train")
    (row,) = check_masking(study)
    assert row.severity == "ok"


def test_every_rule_is_tried_or_named_as_not_to_be_tried_here() -> None:
    (row,) = not_decided_here()
    listed = set(row.what.split(": ")[1].split(", "))
    tried = {name for name, rule in RULES.items() if rule.decided_here}
    assert {"rows", "cells", "consent", "membership"} < tried
    assert listed == set(RULES) - tried - {"participants"}  # foretold from earlier releases


# -- counts ---------------------------------------------------------------------------------------


def test_patients_and_positives_are_counted_by_subset_and_fold(own: Reader, study: Study) -> None:
    found = count(own("c").cohort, study)
    assert found.subsets == {"train": (40, 16), "internal": (10, 4), "external_1": (30, 12)}
    assert [n for n, _ in found.folds] == [8] * 5
    assert sorted(positives for _, positives in found.folds) == [3, 3, 3, 3, 4]


def test_a_fold_of_one_class_is_a_problem_unless_the_study_allows_it(
    own: Reader, study: Study
) -> None:
    cohort = own("a", train=8).cohort
    rows = faults(check_counts(cohort, study, count(cohort, study)))
    assert rows
    assert {(row.kind, row.severity) for row in rows} == {("counts.fold", "problem")}
    privacy = study.privacy.model_copy(update={"min_class_per_fold": 0})
    lenient = study.model_copy(update={"privacy": privacy})
    rows = faults(check_counts(cohort, lenient, count(cohort, study)))
    assert {row.severity for row in rows} == {"warning"}


def test_everything_that_the_study_misses_is_said_not_the_first_thing_only(
    own: Reader, study: Study
) -> None:
    cohort = own("a", train=0).cohort
    cohort.patients = []
    rows = faults(check_counts(cohort, study, count(cohort, study)))
    assert [row.kind for row in rows] == ["counts.subset"] * 2
    assert "no training rows" in rows[0].what
    assert "internal" in rows[1].what
