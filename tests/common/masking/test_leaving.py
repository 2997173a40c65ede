"""A statement of leaving: only the hospital itself can make it, and it holds for one roster."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from common.errors import SignatureError
from common.masking import identity
from common.masking.agreement import roster_digest
from common.masking.fixed_point import to_text
from common.masking.leaving import LeftSite

KEY, OTHER = identity.generate(), identity.generate()
ROSTER = roster_digest({"a": "x", "d": identity.public_text(KEY.public_key())})
STATEMENT = LeftSite.sign(KEY, "d", ROSTER)


def test_a_statement_is_signed_with_the_key_it_names() -> None:
    STATEMENT.verify()
    assert STATEMENT.public_key == identity.public_text(KEY.public_key())
    assert LeftSite.sign(KEY, "d", ROSTER) == STATEMENT


@pytest.mark.parametrize(
    "changes",
    [
        {"site": "e"},
        {"roster": "0" * 64},
        {"public_key": identity.public_text(OTHER.public_key())},
        {"public_key": ""},
        {"public_key": to_text(bytes(32))},
        {"signature": to_text(bytes(64))},
        {"signature": "x"},
        {"signature": LeftSite.sign(OTHER, "d", ROSTER).signature},
    ],
)
def test_a_changed_statement_does_not_hold(changes: dict[str, str]) -> None:
    with pytest.raises(SignatureError, match=r"site [de]: its statement of leaving is not one"):
        STATEMENT.model_copy(update=changes).verify()


def test_another_signature_of_the_same_key_is_no_statement() -> None:
    message = b"".join(text.encode() for text in ("d", STATEMENT.public_key, ROSTER))
    for purpose in ("ephemeral key", "approval", "ledger entry"):
        signature = to_text(identity.sign(KEY, purpose, message))
        with pytest.raises(SignatureError):
            STATEMENT.model_copy(update={"signature": signature}).verify()


@pytest.mark.parametrize("changes", [{"site": "\x1b[31md"}, {"roster": "short"}, {"note": "x"}])
def test_a_statement_holds_names_and_digests_only(changes: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        LeftSite.model_validate(STATEMENT.model_dump() | changes)
