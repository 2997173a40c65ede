"""Attack (d), the open door: a site leaves. Nobody but that site can open it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import client.store.releases
from client.store.ledger import ledger_path
from common.errors import InputError, RefusedError
from common.ledger.verify import read_entries, verify
from common.masking import identity
from common.masking.agreement import roster_digest
from common.masking.layout import from_rings
from common.masking.leaving import LeftSite
from common.messages.exchanges import SumItem
from common.statistics.moments import CentredSquares
from server.commands.audit import audit_run
from sim.sites import simulated_identity
from tests.attacks.sums import COLUMNS, MEANS, VIEW, begun, refused_rules, totals

pytestmark = pytest.mark.usefixtures("server_identity")
SQUARES = SumItem(CentredSquares(np.zeros(2)), VIEW, "train")


def own_numbers(rehearsal: Any, site: str, item: SumItem, run: str) -> dict[str, Any]:
    """The true sum of one site."""
    rings = rehearsal.true_rings(site, item, run)
    return dict(from_rings(item.statistic, rings, len(COLUMNS)))


def gone(*left: LeftSite) -> dict[str, Any]:
    """Return the block that the coordinator adds to study.toml."""
    return {"left": [one.model_dump() for one in left]}


@pytest.fixture
def hospitals(hospitals: Path) -> Path:
    """Another one besides."""
    shutil.copytree(hospitals / "b", hospitals / "e")
    return hospitals


@pytest.fixture
def statement(everyone: Any) -> LeftSite:
    """As d itself makes it."""
    return LeftSite.sign(simulated_identity("d"), "d", roster_digest(everyone.study.roster))


# -- nobody but the site itself ------------------------------------------------------------------


def expect_refused(coordinator: Any, hospitals: Path, *left: LeftSite) -> None:
    after = coordinator.rehearse(hospitals, **gone(*left)).federation("refused")
    with pytest.raises(RefusedError, match="refuses: rule participants"):
        after.enrol()
    assert refused_rules(after) == {"participants"}


@pytest.mark.usefixtures("before")
def test_without_its_word_the_sum_without_a_site_is_refused(
    coordinator: Any, hospitals: Path
) -> None:
    expect_refused(coordinator, hospitals)


@pytest.mark.usefixtures("before")
def test_a_word_signed_with_a_key_of_the_coordinators_own_opens_nothing(
    coordinator: Any, hospitals: Path, statement: LeftSite
) -> None:
    forged = LeftSite.sign(identity.generate(), "d", statement.roster)
    expect_refused(coordinator, hospitals, forged)


@pytest.mark.usefixtures("before")
def test_nor_does_a_roster_with_such_a_key_that_the_sites_enrolled_under(
    coordinator: Any, hospitals: Path, everyone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The survivors have the forged roster on record; the sum of before was under the true one."""
    own = identity.generate()
    forged_roster = {**everyone.study.roster, "d": identity.public_text(own.public_key())}
    for site in ("a", "b", "c"):
        client.store.releases.Rosters(everyone.sites[site].parent / "work").keep(forged_roster)
    forged = LeftSite.sign(own, "d", roster_digest(forged_roster))
    expect_refused(coordinator, hospitals, forged)


@pytest.mark.usefixtures("before")
def test_its_word_about_another_roster_opens_nothing(
    coordinator: Any, hospitals: Path, everyone: Any
) -> None:
    five = coordinator.rehearse(hospitals, sites="abcde").study
    elsewhere = LeftSite.sign(simulated_identity("d"), "d", roster_digest(five.roster))
    expect_refused(coordinator, hospitals, elsewhere)


@pytest.mark.usefixtures("before")
def test_the_word_of_another_site_opens_nothing(
    coordinator: Any, hospitals: Path, statement: LeftSite
) -> None:
    expect_refused(
        coordinator, hospitals, LeftSite.sign(simulated_identity("e"), "e", statement.roster)
    )


def test_a_word_with_a_changed_name_or_roster_is_no_study(
    coordinator: Any, hospitals: Path, statement: LeftSite
) -> None:
    for changes in ({"site": "e"}, {"roster": "0" * 64}):
        with pytest.raises(InputError, match="its statement of leaving is not one that it signed"):
            coordinator.rehearse(hospitals, **gone(statement.model_copy(update=changes)))


def test_of_two_that_are_gone_both_must_have_signed(coordinator: Any, hospitals: Path) -> None:
    five = coordinator.rehearse(hospitals, sites="abcde")
    totals(begun(five, "first"))
    roster = roster_digest(five.study.roster)
    d, e = (LeftSite.sign(simulated_identity(name), name, roster) for name in "de")
    expect_refused(coordinator, hospitals, d)
    totals(begun(coordinator.rehearse(hospitals, **gone(d, e)), "third"))


def test_who_left_hides_nobody_else(coordinator: Any, hospitals: Path) -> None:
    """Three are gone, but the numbers of one are known: the others would be two."""
    shutil.copytree(hospitals / "b", hospitals / "f")
    six = coordinator.rehearse(hospitals, sites="abcdef")
    totals(begun(six, "first"))
    d = LeftSite.sign(simulated_identity("d"), "d", roster_digest(six.study.roster))
    expect_refused(coordinator, hospitals, d)


@pytest.mark.usefixtures("before")
def test_a_site_that_left_does_not_come_back(
    coordinator: Any, hospitals: Path, everyone: Any, statement: LeftSite
) -> None:
    totals(begun(coordinator.rehearse(hospitals, **gone(statement)), "second"))
    with pytest.raises(RefusedError, match="refuses: rule participants"):
        begun(everyone, "third")


# -- with its word -------------------------------------------------------------------------------


def test_with_its_word_the_others_go_on_and_the_difference_is_its_own_numbers(
    coordinator: Any, hospitals: Path, everyone: Any, before: dict[str, Any], statement: LeftSite
) -> None:
    """This is what d has signed: the coordinator subtracts, and has d's numbers to the last bit."""
    rehearsal = coordinator.rehearse(hospitals, **gone(statement))
    after = totals(begun(rehearsal, "second"))
    true = own_numbers(everyone, "d", MEANS, "first")
    assert np.array_equal(before["count"] - after["count"], true["count"])
    assert np.array_equal(before["total"] - after["total"], true["total"])
    for site in ("a", "b", "c"):  # and nobody else's
        own = own_numbers(rehearsal, site, MEANS, "second")
        assert not np.array_equal(after["total"], own["total"])


@pytest.mark.usefixtures("before")
def test_every_survivor_writes_down_who_left_and_the_ledgers_agree(
    coordinator: Any, hospitals: Path, statement: LeftSite
) -> None:
    rehearsal = coordinator.rehearse(hospitals, **gone(statement))
    federation = begun(rehearsal, "second")
    totals(federation)
    totals(federation, SQUARES)
    for site in ("a", "b", "c"):
        settings = rehearsal.workspace(site, "second").settings
        entries = read_entries(ledger_path(settings.work))
        sums = [e for e in entries if e.exchange == "query.sum"]
        left = [(entry.run, item.left) for entry in sums for item in entry.items]
        assert left == [("first", ()), ("second", ("d",)), ("second", ("d",))]
        public = simulated_identity(site).public_key()
        assert verify(ledger_path(settings.work), public) == []
    report = audit_run(hospitals / "run", rehearsal.study)
    assert report.findings == ()
    assert any("site d left: its own sums follow by subtraction" in n for n in report.notes)


@pytest.mark.usefixtures("before")
def test_without_the_ledger_of_the_one_who_left_the_audit_says_so_and_passes(
    coordinator: Any, hospitals: Path, statement: LeftSite
) -> None:
    rehearsal = coordinator.rehearse(hospitals, **gone(statement))
    totals(begun(rehearsal, "second"))
    shutil.rmtree(hospitals / "run" / "sites" / "d")
    report = audit_run(hospitals / "run", rehearsal.study)
    assert report.findings == ()
    assert any("d has no entry about train" in note for note in report.notes)
    assert audit_run(hospitals / "run", None).findings != ()


@pytest.mark.usefixtures("before")
def test_the_others_agree_on_new_keys_under_the_new_roster(
    coordinator: Any, hospitals: Path, everyone: Any, statement: LeftSite
) -> None:
    rehearsal = coordinator.rehearse(hospitals, **gone(statement))
    begun(rehearsal, "second")
    for site in ("a", "b", "c"):
        old = everyone.workspace(site, "first").masks.announce("before")
        new = rehearsal.workspace(site, "second").masks.announce("after")
        assert (old.roster, new.roster) == (
            statement.roster,
            roster_digest(rehearsal.study.roster),
        )
        assert old.public_key != new.public_key


@pytest.mark.usefixtures("before")
def test_a_run_of_the_same_name_under_the_new_roster_has_other_keys(
    coordinator: Any, hospitals: Path, everyone: Any, statement: LeftSite
) -> None:
    rehearsal = coordinator.rehearse(hospitals, **gone(statement))
    totals(begun(rehearsal, "first"))
    for site in ("a", "b", "c"):
        old, new = (
            one.workspace(site, "first").masks.announce("s") for one in (everyone, rehearsal)
        )
        assert old.public_key != new.public_key


def test_two_may_leave_one_after_the_other(coordinator: Any, hospitals: Path) -> None:
    five = coordinator.rehearse(hospitals, sites="abcde")
    first = totals(begun(five, "first"))
    e = LeftSite.sign(simulated_identity("e"), "e", roster_digest(five.study.roster))
    four = coordinator.rehearse(hospitals, sites="abcd", **gone(e))
    second = totals(begun(four, "second"))
    # d was on both rosters, and says so for both
    rosters = [roster_digest(one.study.roster) for one in (four, five)]
    both = [LeftSite.sign(simulated_identity("d"), "d", roster) for roster in rosters]
    expect_refused(coordinator, hospitals, e, both[0])
    third = totals(begun(coordinator.rehearse(hospitals, **gone(e, *both)), "third"))
    for more, fewer, site, run in ((first, second, "e", "first"), (second, third, "d", "second")):
        own = own_numbers(five if run == "first" else four, site, MEANS, run)
        assert np.array_equal(more["total"] - fewer["total"], own["total"])
