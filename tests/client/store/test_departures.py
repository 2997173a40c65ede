"""The days that a hospital was away, as the ledger of another has them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from client.store.departures import Departures
from client.store.ledger import Ledger, ledger_path
from common.ledger.entry import Item, Record
from common.masking import identity
from common.study.model import Study
from tests import builders

PRIVATE = identity.generate()


@pytest.fixture
def study() -> Study:
    return builders.study(sites="abc")


@pytest.fixture
def departures(tmp_path: Path, study: Study) -> Departures:
    return Departures(tmp_path, study)


def gave(work: Path, *participants: str, **record: Any) -> datetime:
    """Write a sum together with these; when that was."""
    left = record.pop("left", ())
    item = Item(
        what="Means", subset="train", request="", shapes={}, participants=participants, left=left
    )
    given = {"exchange": "query.sum", "decision": "released", **record}
    entry = Ledger(work, PRIVATE).append(Record(items=(item,), **given))
    return datetime.fromisoformat(entry.time)


def test_a_hospital_that_was_never_there_has_no_last_sum(
    departures: Departures, tmp_path: Path
) -> None:
    assert departures.last_sum_with("d") is None
    gave(tmp_path, "a", "b", "c")
    assert departures.last_sum_with("d") is None


def test_the_last_sum_together_counts(departures: Departures, tmp_path: Path) -> None:
    gave(tmp_path, "a", "d", "e")
    last = gave(tmp_path, "a", "b", "d")
    gave(tmp_path, "a", "b", "c")
    assert departures.last_sum_with("d") == last


def test_what_did_not_leave_is_no_sign_of_it_nor_is_another_name(
    departures: Departures, tmp_path: Path
) -> None:
    last = gave(tmp_path, "a", "b", "d")
    gave(tmp_path, "a", "b", "d", decision="refused", reason="rows")
    gave(tmp_path, "a", "b", "d2", "2d")
    gave(tmp_path, "a", "b", "c", left=("d",))
    assert departures.last_sum_with("d") == last


def test_a_line_that_is_none_is_passed_over(departures: Departures, tmp_path: Path) -> None:
    last = gave(tmp_path, "a", "b", "d")
    with ledger_path(tmp_path).open("ab") as file:
        file.write(b'{"participants":["a","d"], torn')
    assert departures.last_sum_with("d") == last
