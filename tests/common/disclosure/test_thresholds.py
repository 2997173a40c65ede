from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.disclosure.rule import stricter
from common.study.model import MASKING, MODES, PrivacySettings

STUDY = PrivacySettings(min_rows=12, min_cell=4, max_svm_rounds=40, masking="where_possible")
settings = st.fixed_dictionaries(
    {},
    optional={
        "min_rows": st.integers(1, 40),
        "min_category": st.integers(0, 9),
        "max_svm_rounds": st.integers(1, 60),
        "mode": st.sampled_from(MODES),
        "masking": st.sampled_from(MASKING),
    },
)


def test_a_site_tightens_and_never_loosens() -> None:
    site = PrivacySettings(min_rows=20, min_cell=1, max_svm_rounds=50, masking="off")
    both = stricter(STUDY, site)
    assert (both.min_rows, both.min_cell, both.max_svm_rounds) == (20, 4, 40)
    assert both.masking == "where_possible"
    assert stricter(STUDY, PrivacySettings(masking="required")).masking == "required"


def test_what_a_site_does_not_mention_is_the_studys_affair() -> None:
    assert (
        stricter(PrivacySettings(min_per_class=3), PrivacySettings(min_rows=20)).min_per_class == 3
    )


@pytest.mark.parametrize(
    ("study", "site", "expected"),
    [
        ("faithful", None, "guarded"),
        ("faithful", PrivacySettings(), "guarded"),
        ("faithful", PrivacySettings(min_rows=20), "guarded"),
        ("faithful", PrivacySettings(mode="guarded"), "guarded"),
        ("guarded", PrivacySettings(mode="faithful"), "guarded"),
        ("faithful", PrivacySettings(mode="faithful"), "faithful"),
    ],
)
def test_faithful_takes_the_word_of_both(study: Any, site: Any, expected: str) -> None:
    assert stricter(PrivacySettings(mode=study), site).mode == expected


@given(settings, settings)
def test_asking_again_changes_nothing_and_no_threshold_falls(study: Any, site: Any) -> None:
    theirs, own = PrivacySettings(**study), PrivacySettings(**site)
    both = stricter(theirs, own)
    assert stricter(both, own) == both
    assert both.min_rows >= theirs.min_rows
    assert both.min_category >= theirs.min_category
    assert both.max_svm_rounds <= theirs.max_svm_rounds
    assert MASKING.index(both.masking) <= MASKING.index(theirs.masking)
    assert all(getattr(both, name) >= site[name] for name in ("min_rows",) if name in site)
