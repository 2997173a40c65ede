"""Texts that look like a person's date, number or name, and texts that do not."""

from __future__ import annotations

import pytest

from client.check.naming import (
    A_DATE,
    A_NAME,
    A_NUMBER,
    naming_column,
    plain_id,
    reasons,
    shared_words,
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("P20210312", A_DATE),
        ("2021-03-12", A_DATE),
        ("12.3.1958", A_DATE),
        ("3/12/1958", A_DATE),
        ("0012345678", A_NUMBER),
        ("h1-20211345", A_NUMBER),
        ("DOE^JANE", A_NAME),
        ("Müller, Hans", A_NAME),
        ("Doe_Jane", A_NAME),
        ("Smith_John_57", A_NAME),
    ],
)
def test_what_may_tell_of_a_person_is_seen(text: str, why: str) -> None:
    assert reasons(text) == (why,)


@pytest.mark.parametrize(
    "text",
    ["north-001", "STS_002", "lnm_qilu_0001", "", "ct_neck_arterial", "FSL5.0", "Time=132652.900"],
)
def test_pseudonyms_and_technical_words_are_left_alone(text: str) -> None:
    assert reasons(text) == ()


def test_words_known_to_be_nobodys_are_no_name() -> None:
    assert reasons("charite-larynx-berlin", known={"charite", "berlin"}) == ()
    assert reasons("charite-larynx-berlin") == (A_NAME,)


def test_words_in_half_of_the_texts_tell_nobody_apart() -> None:
    assert shared_words(["scan doe a", "scan roe b", "x lee c", "y poe d"]) == {"scan"}
    assert shared_words(["doe jane", "doe jane"]) == frozenset(), "too few to tell"


@pytest.mark.parametrize("name", ["PatientName", "lastName", "birth_date", "MRN", "e-mail", "dob"])
def test_columns_made_for_a_person_are_seen(name: str) -> None:
    assert naming_column(name)


@pytest.mark.parametrize("name", ["age", "t_stage", "filename", "tumour_phase", "enhancement"])
def test_clinical_columns_are_left_alone(name: str) -> None:
    assert not naming_column(name)


def test_ids_are_compared_without_case_punctuation_and_zeros() -> None:
    assert plain_id("P-007") == plain_id("p 7") == plain_id("P07")
    assert plain_id("P7") != plain_id("P70")
    assert plain_id("P0") != plain_id("P")
