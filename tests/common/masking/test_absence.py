"""Consent of a hospital to be left out of one study once it is away for long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from common.errors import SignatureError
from common.masking import identity
from common.masking.absence import AbsentSite

PRIVATE = identity.generate()
CONSENT = AbsentSite.sign(PRIVATE, "d", "0" * 64, "1" * 64, 30)


def test_a_consent_is_of_the_key_that_it_names() -> None:
    CONSENT.verify()
    other = AbsentSite.sign(identity.generate(), "d", "0" * 64, "1" * 64, 30)
    swapped = CONSENT.model_copy(update={"public_key": other.public_key})
    with pytest.raises(SignatureError, match="site d: its consent to be left out is not one"):
        swapped.verify()


@pytest.mark.parametrize(
    "change", [{"site": "e"}, {"roster": "2" * 64}, {"study": "2" * 64}, {"days": 31}]
)
def test_no_word_of_it_can_be_changed(change: dict[str, object]) -> None:
    with pytest.raises(SignatureError):
        CONSENT.model_copy(update=change).verify()


@pytest.mark.parametrize(("hours", "holds"), [(-1, False), (0, False), (1, True)])
def test_a_consent_holds_after_more_than_its_days(hours: int, holds: bool) -> None:
    consent = AbsentSite.sign(PRIVATE, "d", "0" * 64, "1" * 64, 30)
    last = datetime(2026, 1, 1, tzinfo=UTC)
    assert consent.holds(last, last + timedelta(days=30, hours=hours)) == holds


def test_a_consent_holds_where_nothing_was_given_together() -> None:
    assert AbsentSite.sign(PRIVATE, "d", "0" * 64, "1" * 64, 30).holds(None)
