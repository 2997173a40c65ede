"""Two studies are compared for those who approved the first."""

from __future__ import annotations

from typing import Any

import pytest

from common.masking import identity
from common.masking.leaving import LeftSite
from common.study.changes import changes
from common.study.model import SiteEntry, Study
from sim.sites import simulated_identity
from tests import builders

ONE = identity.public_text(simulated_identity("a").public_key())
TWO = identity.public_text(simulated_identity("b").public_key())


def shown(name: str) -> str:
    return identity.fingerprint(simulated_identity(name).public_key())


@pytest.fixture
def study() -> Study:
    return builders.study(clinical=[builders.number("age", unit="years"), builders.number("size")])


def test_the_same_study_has_no_changes(study: Study) -> None:
    assert list(changes(study, study)) == []


def test_settings_parts_and_keys_are_named_with_both_values(study: Study) -> None:
    first, *others = study.sites
    before = study.model_copy(
        update={"sites": (first.model_copy(update={"public_key": ONE}), *others)}
    )
    after = before.model_copy(
        update={
            "seed": before.seed + 1,
            "endpoint": "another",
            "privacy": before.privacy.model_copy(update={"min_rows": 99}),
            "clinical": before.clinical[:1],
            "sites": (
                first.model_copy(update={"public_key": TWO}),
                *others,
                SiteEntry(name="new"),
            ),
        }
    )
    assert set(changes(before, after)) == {
        f"seed: {before.seed}, now {after.seed}",
        f"endpoint: {before.endpoint}, now another",
        f"privacy.min_rows: {before.privacy.min_rows}, now 99",
        "clinical size: taken out",
        "sites new: added",
        f"sites {first.name}.public_key: key {shown('a')}, now key {shown('b')}",
    }


def test_a_hospital_that_left_is_called_by_its_name(study: Study) -> None:
    statement = LeftSite(site="e", roster="0" * 64, public_key=ONE, signature="")
    left = study.model_copy(update={"left": (statement,)})
    assert list(changes(study, left)) == ["left: none, now e"]
    assert list(changes(left, study)) == ["left: e, now none"]


@pytest.mark.parametrize("field", ["sites", "clinical"])
def test_another_order_alone_is_a_change_too(study: Study, field: str) -> None:
    parts: Any = getattr(study, field)
    other = study.model_copy(update={field: parts[::-1]})
    assert other.digest() != study.digest()
    assert list(changes(study, other)) == ["the order of its parts"]
