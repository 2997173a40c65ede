"""Names refer to one thing; hospitals that left are there with their own word alone."""

from __future__ import annotations

from typing import Any

import pytest
import tomli_w

from common.errors import InputError
from common.masking import identity
from common.masking.agreement import roster_digest
from common.masking.leaving import LeftSite
from common.study.model import Study, parse_study

KEYS = {name: identity.generate() for name in "abcd"}
ROSTER = {name: identity.public_text(key.public_key()) for name, key in KEYS.items()}
LEFT = LeftSite.sign(KEYS["d"], "d", roster_digest(ROSTER))


def study(*left: LeftSite, names: str = "abc") -> Study:
    written: dict[str, Any] = {
        "name": "s",
        "endpoint": "event",
        "sites": [{"name": name, "public_key": ROSTER[name]} for name in names],
        "test_sets": [],
        "clinical": [{"name": "age", "kind": "continuous"}],
        "left": [one.model_dump() for one in left],
    }
    return parse_study(tomli_w.dumps(written))


def test_who_left_is_part_of_the_digest_that_sites_approve() -> None:
    assert study(LEFT).left == (LEFT,)
    assert study(LEFT).digest() != study().digest()
    assert Study.model_validate_json(study(LEFT).model_dump_json()) == study(LEFT)


def test_without_the_site_it_is_another_roster() -> None:
    assert roster_digest(study(LEFT).roster) != LEFT.roster


def test_who_left_is_no_longer_among_the_sites() -> None:
    with pytest.raises(InputError, match="left: d is still one of the sites; take it out of sites"):
        study(LEFT, names="abcd")


def test_who_left_is_not_there_under_another_name() -> None:
    renamed = LeftSite.sign(KEYS["c"], "d", LEFT.roster)
    with pytest.raises(InputError, match="left: d has the key of site c"):
        study(renamed)


def test_one_statement_of_a_site_for_a_roster_is_enough() -> None:
    other = LeftSite.sign(KEYS["d"], "d", "0" * 64)
    assert len(study(LEFT, other).left) == 2
    with pytest.raises(InputError, match="left: a statement of d is there twice"):
        study(LEFT, LEFT)


@pytest.mark.parametrize(
    "changes",
    [
        {"roster": "0" * 64},
        {"site": "e"},
        {"public_key": identity.public_text(identity.generate().public_key())},
    ],
)
def test_a_statement_that_the_site_did_not_sign_is_named(changes: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"left: site [de]: its statement of leaving is not one"):
        study(LEFT.model_copy(update=changes))


@pytest.mark.parametrize(
    "name", ["label", "split", "patient_id", "image", "mask", "mask_r2", "exam_offset_days"]
)
def test_the_outcome_and_other_columns_of_the_file_itself_are_no_clinical_values(name: str) -> None:
    written = study().model_dump(exclude={"clinical"}, exclude_none=True)
    column = {"name": name, "kind": "continuous"}
    with pytest.raises(ValueError, match=f"cohort.csv has a column {name} of its own"):
        Study.model_validate({**written, "clinical": [column]})
