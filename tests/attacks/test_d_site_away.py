"""Attack (d), the door left ajar: a site agreed to be left out once it is away for long.

A coordinator says that it is away when it is not, changes what was agreed, or uses it elsewhere.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import client.store.departures
from client.store.departures import Departures, utc_now
from client.store.ledger import ledger_path
from common.errors import InputError, RefusedError, SiteError
from common.ledger.verify import read_entries, verify
from common.masking import identity
from common.masking.absence import AbsentSite
from common.masking.agreement import roster_digest
from common.masking.layout import from_rings
from common.messages.exchanges import Problem, Refused, SumItem
from common.statistics.moments import CentredSquares
from server.commands.audit import audit_run
from sim.sites import simulated_identity
from tests.attacks.sums import COLUMNS, MEANS, VIEW, begun, totals

pytestmark = pytest.mark.usefixtures("server_identity")
SQUARES = SumItem(CentredSquares(np.zeros(2)), VIEW, "train")
DAYS = 30
STAYING = ("a", "b", "c")


def heard(federation: Any) -> set[str]:
    """Rules and codes of all that was not answered."""
    replies = [heard.reply for heard in federation.grid.heard]
    rules = {r.rule for reply in replies if isinstance(reply, Refused) for r in reply.refusals}
    return rules | {reply.kind for reply in replies if isinstance(reply, Problem)}


def without_d(coordinator: Any, hospitals: Path, *consents: AbsentSite) -> Any:
    """The study that the coordinator makes of it, and that the three others have approved."""
    return coordinator.rehearse(hospitals, left=[one.model_dump() for one in consents])


def work_of(rehearsal: Any, site: str) -> Path:
    folder: Path = rehearsal.sites[site].parent / "work"
    return folder


def agreed(study: Any, *, private: Any = None, days: int = DAYS, name: str = "d") -> AbsentSite:
    """As the hospital itself makes it at approval."""
    roster = roster_digest(study.roster)
    return AbsentSite.sign(private or simulated_identity(name), name, roster, study.digest(), days)


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let days go by, on the clocks of the hospitals."""

    def days(number: float) -> None:
        later = utc_now() + timedelta(days=number)
        monkeypatch.setattr(client.store.departures, "utc_now", lambda: later)

    return days


# -- not away for so long ------------------------------------------------------------------------


@pytest.mark.usefixtures("before")
@pytest.mark.parametrize("after", [0.0, DAYS - 0.01])
def test_a_coordinator_that_calls_a_site_absent_too_early_is_refused_by_name(
    coordinator: Any, hospitals: Path, everyone: Any, passed: Any, after: float
) -> None:
    passed(after)
    rehearsal = without_d(coordinator, hospitals, agreed(everyone.study))
    federation = rehearsal.federation("second")
    with pytest.raises(SiteError, match="not_absent"):
        federation.enrol()
    assert heard(federation) == {"not_absent"}
    log = (work_of(rehearsal, "a") / "gate.log").read_text(encoding="utf-8")
    assert f"d may be left out after more than {DAYS} days without a sum" in log
    assert "call d, at a number that you know" in log


@pytest.mark.usefixtures("before")
def test_every_sum_together_with_a_site_counts_whatever_the_study(
    coordinator: Any, hospitals: Path, everyone: Any, passed: Any
) -> None:
    """Its machine is not dead: it answered another study, of which the consent says nothing."""
    consent = agreed(everyone.study)
    other = coordinator.rehearse(hospitals, sites="abcd", endpoint="another")
    works = [work_of(other, site) for site in STAYING]
    seen = [Departures(work, other.study) for work in works]
    earlier = [one.last_sum_with("d") for one in seen]
    totals(begun(other, "other"))
    for one, last in zip(seen, earlier, strict=True):
        found = one.last_sum_with("d")
        assert last is not None
        assert found is not None
        assert found > last
    passed(DAYS + 1)
    federation = without_d(coordinator, hospitals, consent).federation("second")
    with pytest.raises(RefusedError):  # the consent is not about the other study's sums
        federation.enrol()
    assert heard(federation) == {"participants"}


@pytest.mark.usefixtures("before")
def test_one_hospital_by_whose_ledger_it_was_there_stops_the_study(
    coordinator: Any, hospitals: Path, everyone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clocks of two are put forward, as by a coordinator that has two on its side."""
    true = Departures.last_sum_with
    honest = work_of(everyone, "c")

    def long_ago(departures: Departures, site: str) -> Any:
        last = true(departures, site)
        assert last is not None
        return last if departures.work == honest else last - timedelta(days=2 * DAYS)

    monkeypatch.setattr(Departures, "last_sum_with", long_ago)
    federation = without_d(coordinator, hospitals, agreed(everyone.study)).federation("second")
    with pytest.raises(SiteError, match=r"site c: .*not_absent"):
        federation.enrol()


# -- not agreed to so ----------------------------------------------------------------------------


@pytest.mark.usefixtures("before")
def test_a_consent_signed_with_another_key_opens_nothing(
    coordinator: Any, hospitals: Path, everyone: Any, passed: Any
) -> None:
    passed(DAYS + 1)
    forged = agreed(everyone.study, private=identity.generate())
    federation = without_d(coordinator, hospitals, forged).federation("second")
    with pytest.raises(RefusedError, match="refuses: rule participants"):
        federation.enrol()


@pytest.mark.parametrize("change", [{"days": 7}, {"site": "e"}, {"study": "0" * 64}])
def test_a_consent_that_was_changed_is_no_study(
    coordinator: Any, hospitals: Path, everyone: Any, change: dict[str, Any]
) -> None:
    altered = agreed(everyone.study).model_copy(update=change)
    with pytest.raises(InputError, match="its consent to be left out is not one that it signed"):
        without_d(coordinator, hospitals, altered)


@pytest.mark.usefixtures("before")
def test_a_consent_for_another_study_opens_nothing(
    coordinator: Any, hospitals: Path, everyone: Any, passed: Any
) -> None:
    passed(DAYS + 1)
    other = everyone.study.model_copy(update={"endpoint": "another"})
    federation = without_d(coordinator, hospitals, agreed(other)).federation("second")
    with pytest.raises(RefusedError, match="refuses: rule participants"):
        federation.enrol()
    assert heard(federation) == {"participants"}


def test_a_consent_lets_nobody_else_be_left_out(
    coordinator: Any, hospitals: Path, passed: Any
) -> None:
    passed(DAYS + 1)
    """e is away, too, and has agreed to nothing."""
    shutil.copytree(hospitals / "b", hospitals / "e")
    five = coordinator.rehearse(hospitals, sites="abcde")
    totals(begun(five, "first"))
    passed(DAYS + 1)
    consent = agreed(five.study)
    federation = without_d(coordinator, hospitals, consent).federation("second")
    with pytest.raises(RefusedError, match="refuses: rule participants"):
        federation.enrol()


def test_fewer_than_seven_days_cannot_be_agreed_to(everyone: Any) -> None:
    with pytest.raises(ValueError, match="greater than or equal to 7"):
        agreed(everyone.study, days=6)


# -- as agreed -----------------------------------------------------------------------------------


def test_after_so_many_days_the_others_go_on_and_the_difference_is_its_own_numbers(
    coordinator: Any, hospitals: Path, everyone: Any, before: dict[str, Any], passed: Any
) -> None:
    passed(DAYS + 0.01)
    rehearsal = without_d(coordinator, hospitals, agreed(everyone.study))
    after = totals(begun(rehearsal, "second"))
    rings = everyone.true_rings("d", MEANS, "first")
    true = dict(from_rings(MEANS.statistic, rings, len(COLUMNS)))
    assert np.array_equal(before["total"] - after["total"], true["total"])


@pytest.mark.usefixtures("before")
def test_each_hospital_that_stays_writes_down_by_what_it_went(
    coordinator: Any, hospitals: Path, everyone: Any, passed: Any
) -> None:
    passed(DAYS + 1)
    rehearsal = without_d(coordinator, hospitals, agreed(everyone.study))
    federation = begun(rehearsal, "second")
    totals(federation)
    totals(federation, SQUARES)
    for site in STAYING:
        path = ledger_path(work_of(rehearsal, site))
        entries = read_entries(path)
        (absence,) = [entry for entry in entries if entry.exchange == "absence"]
        assert (absence.decision, absence.study) == ("released", rehearsal.study.digest())
        assert [
            e.items[0].left for e in entries if e.run == "second" and e.exchange == "query.sum"
        ] == [("d",)] * 2
        assert verify(path, simulated_identity(site).public_key()) == []
    report = audit_run(hospitals / "run", rehearsal.study)
    assert report.findings == ()
    assert any("site d left: its own sums follow by subtraction" in n for n in report.notes)


@pytest.mark.usefixtures("before")
def test_a_site_that_was_left_out_does_not_come_back(
    coordinator: Any, hospitals: Path, everyone: Any, passed: Any
) -> None:
    passed(DAYS + 1)
    totals(begun(without_d(coordinator, hospitals, agreed(everyone.study)), "second"))
    with pytest.raises(RefusedError, match="refuses: rule participants"):
        begun(everyone, "third")


@pytest.mark.usefixtures("before")
def test_the_whole_study_goes_on_without_it_each_question_derived(
    coordinator: Any, hospitals: Path, everyone: Any, passed: Any, tmp_path: Path
) -> None:
    passed(DAYS + 1)
    rehearsal = coordinator.rehearse(
        hospitals, verifying=STAYING, left=[agreed(everyone.study).model_dump()]
    )
    rehearsal.run(tmp_path / "out", "second")
    assert (tmp_path / "out" / "bundle" / "signature.json").is_file()
