"""A site notices that its own ledger, or another's, was put back to an older copy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from client.store.heads import LedgerHeads, OtherRolledBackError, RolledBackError
from client.store.ledger import Ledger
from client.store.site_db import SeenHead, SiteDb, site_db
from common.ledger.entry import Record
from common.ledger.receipt import Receipt
from common.masking import identity
from common.masking.agreement import SignedKey
from sim.sites import simulated_identity

ROSTER = {site: identity.public_text(simulated_identity(site).public_key()) for site in "abc"}


@pytest.fixture
def hashes(tmp_path: Path) -> list[str]:
    """The ledger of site a with three entries; their hashes."""
    ledger = Ledger(tmp_path, simulated_identity("a"))
    return [ledger.append(Record(exchange="query.sum", decision="stopped")).hash for _ in "xyz"]


def heads(work: Path) -> LedgerHeads:
    return LedgerHeads(work, "a")


def receipt(site: str, entries: int, ledger: str, signer: str = "", session: str = "s") -> Receipt:
    made = Receipt(site=site, session=session, request="", reply="", entries=entries, ledger=ledger)
    return made.signed(simulated_identity(signer or site))


def key(
    site: str, session: str, entries: int, ledger: str = "0" * 64, start: str = ""
) -> SignedKey:
    return SignedKey(site, "r", "", "", session, "", "", entries, ledger, start)


def test_a_ledger_that_has_all_it_signed_is_fine(tmp_path: Path, hashes: list[str]) -> None:
    given = [receipt("a", number, own) for number, own in enumerate(hashes, start=1)]
    heads(tmp_path).check_own(ROSTER, [*given, receipt("a", 0, "0" * 64)])
    assert heads(tmp_path).missing() is None


@pytest.mark.parametrize(
    ("entries", "digest"),
    [(4, "4" * 64), (3, "3" * 64), (1, "1" * 64)],
    ids=["shorter", "end", "mid"],
)
def test_a_signed_entry_that_is_not_there_is_remembered_and_refused_from_then_on(
    tmp_path: Path, hashes: list[str], entries: int, digest: str
) -> None:
    assert len(hashes) == 3
    with pytest.raises(RolledBackError, match=f"site a .* it signed entry {entries}: ") as found:
        heads(tmp_path).check_own(ROSTER, [receipt("a", entries, digest)])
    assert "restore the newest backup" in found.value.remedy
    assert "data-protection officer" in found.value.remedy
    with pytest.raises(RolledBackError):
        heads(tmp_path).check_own(ROSTER)
    assert heads(tmp_path).missing() == (entries, digest)


@pytest.mark.parametrize("signer", ["b", "x"])
def test_a_receipt_that_the_site_did_not_sign_proves_nothing(
    tmp_path: Path, hashes: list[str], signer: str
) -> None:
    heads(tmp_path).check_own(ROSTER, [receipt("a", 9, hashes[0], signer)])
    assert heads(tmp_path).missing() is None


def announced(work: Path, *keys: SignedKey) -> None:
    heads(work).check_others(keys, ROSTER)
    with site_db(work).transaction():
        pass


@pytest.mark.parametrize(
    "now", [key("b", "t", 4, "b" * 64), key("b", "t", 5, "c" * 64)], ids=["shorter", "another"]
)
def test_another_site_that_announces_an_older_ledger_is_named(
    tmp_path: Path, now: SignedKey
) -> None:
    announced(tmp_path, key("b", "s", 5, "b" * 64), key("c", "s", 9))
    with pytest.raises(OtherRolledBackError, match="the ledger of site b is older"):
        heads(tmp_path).check_others([key("c", "t", 9), now], ROSTER)


def test_a_ledger_that_grew_or_stayed_is_fine_and_so_is_the_same_key_again(tmp_path: Path) -> None:
    announced(tmp_path, key("b", "s", 5, "b" * 64))
    announced(tmp_path, key("b", "s", 5, "b" * 64))
    announced(tmp_path, key("b", "t", 5, "b" * 64))
    announced(tmp_path, key("b", "u", 6, "c" * 64))


def test_receipts_of_the_enrolment_that_keys_are_known_for_count_and_others_do_not(
    tmp_path: Path,
) -> None:
    """A reply to the enrolment itself is signed after the key, and has a longer ledger."""
    announced(tmp_path, key("b", "s", 5))
    own = heads(tmp_path)
    own.check_own(ROSTER, [receipt("b", 20, "2" * 64, session="t")])
    own.check_others([key("b", "t", 19)], ROSTER)
    own.check_own(ROSTER, [receipt("b", 30, "3" * 64, session="t")])
    with pytest.raises(OtherRolledBackError, match="it signed entry 30"):
        own.check_others([key("b", "u", 29)], ROSTER)


def test_keys_of_studies_side_by_side_may_come_out_of_order(tmp_path: Path) -> None:
    """Both were made by one start of the program of b, which no restored copy has."""
    announced(tmp_path, key("b", "other", 91, start="now"))
    own = heads(tmp_path)
    own.check_own(ROSTER, [receipt("b", 95, "5" * 64, session="other")])
    own.check_others([key("b", "tabular", 90, start="now")], ROSTER)
    # what was seen before is not forgotten for it
    own.check_own(ROSTER, [receipt("b", 97, "7" * 64, session="tabular")])
    for start in ("later", ""):
        with pytest.raises(OtherRolledBackError, match="it signed entry 97"):
            own.check_others([key("b", "again", 96, start=start)], ROSTER)


def test_a_key_without_a_start_is_never_excused(tmp_path: Path) -> None:
    announced(tmp_path, key("b", "s", 5))
    with pytest.raises(OtherRolledBackError):
        heads(tmp_path).check_others([key("b", "t", 4)], ROSTER)


def test_another_ledger_of_the_same_length_is_no_key_out_of_order(tmp_path: Path) -> None:
    announced(tmp_path, key("b", "s", 5, "b" * 64, start="now"))
    with pytest.raises(OtherRolledBackError):
        heads(tmp_path).check_others([key("b", "t", 5, "c" * 64, start="now")], ROSTER)


def test_what_was_seen_is_written_with_the_next_transaction_and_lost_with_none(
    tmp_path: Path,
) -> None:
    db, owner = SiteDb(tmp_path), ("b", ROSTER["b"])
    db.announce_head(*owner, "s", 5, "5" * 64)
    with pytest.raises(KeyError), db.transaction():
        raise KeyError
    assert SiteDb(tmp_path).head(*owner) is None
    db.fix("levels", "x", "y")
    assert SiteDb(tmp_path).head(*owner) == SeenHead("s", 5, "5" * 64)


def test_the_owner_of_a_new_identity_key_begins_anew(tmp_path: Path) -> None:
    announced(tmp_path, key("b", "s", 5))
    other: dict[str, Any] = {**ROSTER, "b": ROSTER["c"]}
    heads(tmp_path).check_others([key("b", "t", 0)], other)
