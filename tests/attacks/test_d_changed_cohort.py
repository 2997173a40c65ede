"""Attack (d): the same sum is asked again with one patient fewer, or with one site fewer."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import client.store.releases
from client.workspace import open_workspace
from common.errors import RefusedError, StudyError
from common.evaluation.decoders import difference
from common.masking import identity
from common.masking.layout import from_rings
from common.messages.exchanges import Refused, SumItem
from common.statistics.exact import from_digits
from common.statistics.gram import FoldGram
from common.statistics.moments import CentredSquares, Means
from common.transforms import Standardise
from tests import builders
from tests.attacks.sums import COLUMNS, MEANS, VIEW, begun, refused_rules, totals
from tests.conftest import write_tabular_hospital

pytestmark = pytest.mark.usefixtures("server_identity")


# -- one patient fewer --------------------------------------------------------------------------


def take_a_patient_away(folder: Path) -> Any:
    """The first training patient of a hospital leaves its cohort.csv; the values it had."""
    path = folder / "cohort.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    gone = next(row for row in rows if row["split"] == "train")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(row for row in rows if row is not gone)
    return np.array([float(gone["marker"]), float(gone["stage"]) - 1.0])


def before_and_after(coordinator: Any, folder: Path, item: SumItem) -> tuple[Any, Any, Any]:
    """The same sum of two runs of a study, a patient of site a having left in between."""
    rehearsal = coordinator.rehearse(folder)
    before = rehearsal.federation("first")
    before.enrol()
    first = totals(before, item)
    row = take_a_patient_away(folder / "a")
    after = rehearsal.federation("second")
    after.enrol()
    second = totals(after, item)
    return row, first, second


def test_a_sum_with_one_patient_fewer_is_refused(coordinator: Any, tabular: Path) -> None:
    rehearsal = coordinator.rehearse(tabular)
    before = rehearsal.federation("first")
    before.enrol()
    totals(before, MEANS)
    take_a_patient_away(tabular / "a")
    after = rehearsal.federation("second")
    with pytest.raises(RefusedError, match="refuses: rule membership, threshold 10"):
        after.enrol()
        totals(after, MEANS)
    assert refused_rules(after) == {"membership"}


def test_the_same_study_may_run_again_over_the_same_patients(
    coordinator: Any, tabular: Path
) -> None:
    rehearsal = coordinator.rehearse(tabular)
    found = []
    for run in ("first", "second"):
        federation = rehearsal.federation(run)
        federation.enrol()
        found.append(totals(federation, MEANS))
        open_workspace.cache_clear()
    assert np.array_equal(found[0]["total"], found[1]["total"])


def test_without_the_rule_the_difference_is_the_patients_row(
    coordinator: Any, tabular: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.store.releases, "changed_by_few", lambda previous, now: False)
    row, first, second = before_and_after(coordinator, tabular, MEANS)
    lost = difference(first, second)
    assert lost is not None and np.array_equal(lost, row)


def test_of_many_patients_who_left_one_hospital_the_sum_is_told(
    coordinator: Any, tabular: Path
) -> None:
    """The rule lets ten and more pass, though no other hospital's patients hide them."""
    rehearsal = coordinator.rehearse(tabular)
    first = totals(begun(rehearsal, "first"), MEANS)
    gone = [take_a_patient_away(tabular / "a") for _ in range(12)]
    open_workspace.cache_clear()
    second = totals(begun(rehearsal, "second"), MEANS)
    assert (first["count"] - second["count"] == 12).all()
    lost = from_digits(first["total"] - second["total"])
    np.testing.assert_allclose(lost, np.sum(gone, axis=0), rtol=1e-12)


# -- the same in disguise -------------------------------------------------------------------------


def edit(folder: Path, change: Callable[[list[dict[str, str]]], None]) -> None:
    """Change the rows of a hospital's cohort.csv in place."""
    path = folder / "cohort.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = list(rows[0])
    change(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=names)
        writer.writeheader()
        writer.writerows(rows)
    open_workspace.cache_clear()


def sums_of(federation: Any, subset: str) -> Any:
    federation.enrol()
    return totals(federation, SumItem(Means(), VIEW, subset))


def test_the_next_study_cannot_call_the_test_set_otherwise(coordinator: Any, tabular: Path) -> None:
    """The coordinator names the test sets: the patients count, not the name."""
    named = {name: {name: ("internal_test", "abc")} for name in ("internal", "external")}
    sums_of(coordinator.rehearse(tabular, tests=named["internal"]).federation("1"), "internal")
    edit(tabular / "a", lambda rows: rows.remove(next(r for r in rows if r["split"] != "train")))
    after = coordinator.rehearse(tabular, tests=named["external"]).federation("2")
    with pytest.raises(RefusedError, match="refuses: rule membership"):
        sums_of(after, "external")


def test_sums_that_differ_by_many_and_together_by_one_are_refused(
    coordinator: Any, tabular: Path
) -> None:
    """All; without ten; without ten others; and without both tens and one more."""
    rehearsal = coordinator.rehearse(tabular)
    whole = (tabular / "a" / "cohort.csv").read_text(encoding="utf-8")

    def sums_without(gone: Collection[int]) -> Any:
        (tabular / "a" / "cohort.csv").write_text(whole, encoding="utf-8")
        edit(tabular / "a", lambda rows: rows.__setitem__(slice(None), left_of(rows, gone)))
        return sums_of(rehearsal.federation(f"without-{len(gone)}-{min(gone, default=0)}"), "train")

    for gone in ((), range(0, 20, 2), range(1, 20, 2)):
        assert sums_without(gone)
    with pytest.raises(RefusedError, match="refuses: rule membership"):
        sums_without(range(21))


def left_of(rows: Sequence[dict[str, str]], gone: Collection[int]) -> list[dict[str, str]]:
    train = [row for row in rows if row["split"] == "train"]
    left = [train[index] for index in gone]
    return [row for row in rows if row not in left]


def corrected_label(rows: list[dict[str, str]]) -> None:
    rows[0]["label"] = str(1 - int(rows[0]["label"]))


def corrected_value(rows: list[dict[str, str]]) -> None:
    rows[0]["stage"] = "1" if rows[0]["stage"] == "3" else "3"


@pytest.mark.parametrize("change", [corrected_label, corrected_value])
def test_a_sum_after_the_correction_of_one_patient_is_refused(
    coordinator: Any, tabular: Path, change: Any
) -> None:
    rehearsal = coordinator.rehearse(tabular)
    sums_of(rehearsal.federation("first"), "train")
    edit(tabular / "a", change)
    after = rehearsal.federation("second")
    with pytest.raises(RefusedError, match="refuses: rule corrections, threshold 10"):
        sums_of(after, "train")
    assert "corrections" in refused_rules(after)


def test_without_the_rule_the_difference_is_the_row_of_whose_label_was_corrected(
    coordinator: Any, tabular: Path
) -> None:
    rehearsal = coordinator.rehearse(tabular)
    item = SumItem(FoldGram(folds=rehearsal.study.folds), VIEW, "train")

    def products(run: str) -> Any:
        rehearsal.federation(run).enrol()
        rings = rehearsal.true_rings("a", item, run)
        return from_rings(item.statistic, rings, len(COLUMNS))["xy"].sum(axis=0)

    before = products("first")
    with (tabular / "a" / "cohort.csv").open(newline="", encoding="utf-8") as file:
        row = next(csv.DictReader(file))
    edit(tabular / "a", corrected_label)
    sign = 1.0 - 2.0 * int(row["label"])
    found = sign * (products("second") - before)
    assert np.allclose(found, [float(row["marker"]), float(row["stage"]) - 1.0], atol=1e-6)


def test_a_study_that_reads_the_values_of_a_few_otherwise_is_refused(
    coordinator: Any, tabular: Path
) -> None:
    """No hospital changes anything: the second study calls the age of a few a missing value."""
    rehearsal = coordinator.rehearse(tabular)
    sums_of(rehearsal.federation("first"), "train")
    clinical = [column.model_dump(exclude_none=True) for column in rehearsal.study.clinical]
    next(one for one in clinical if one["name"] == "age")["missing"] = ("71",)
    after = coordinator.rehearse(tabular, clinical=clinical).federation("second")
    with pytest.raises(RefusedError, match="refuses: rule corrections"):
        sums_of(after, "train")


def test_a_hospital_may_let_a_correction_pass(coordinator: Any, tabular: Path) -> None:
    rehearsal = coordinator.rehearse(tabular)
    sums_of(rehearsal.federation("first"), "train")
    edit(tabular / "a", corrected_label)
    for path in rehearsal.sites.values():
        said = path.read_text(encoding="utf-8")
        path.write_text("corrections = true\n" + said, encoding="utf-8")
    open_workspace.cache_clear()
    assert sums_of(rehearsal.federation("second"), "train")


def test_the_same_seed_deals_no_other_folds_to_the_same_patients(
    coordinator: Any, tabular: Path
) -> None:
    """Two folds of ten and one of five differ by the few that changed places in either dealing."""
    rehearsal = coordinator.rehearse(tabular)
    sums_of(rehearsal.federation("first"), "train")
    for site in rehearsal.sites:
        workspace = rehearsal.workspace(site, "first")
        workspace.dealing.settle()
        workspace.draft.remember()
    after = coordinator.rehearse(tabular, folds=4).federation("second")
    with pytest.raises(RefusedError, match="refuses: rule same_folds"):
        sums_of(after, "train")
    sums_of(coordinator.rehearse(tabular, folds=4, seed=12).federation("third"), "train")


# -- one site fewer -----------------------------------------------------------------------------


@pytest.fixture
def four(tabular: Path) -> Path:
    """A fourth hospital joins."""
    shutil.copytree(tabular / "b", tabular / "d")
    return tabular


def with_and_without_d(
    coordinator: Any, folder: Path, item: SumItem, other: SumItem
) -> tuple[Any, Any, Any, Any]:
    """A sum over four sites, then another over three of them; federations and totals.

    Both enrol before any sum is given, so that only the sum itself can be refused.
    """
    everyone = coordinator.rehearse(folder, sites="abcd")
    before = everyone.federation("first")
    before.enrol()
    after = coordinator.rehearse(folder, sites="abc", visitors="d").federation("second")
    after.enrol()
    first = totals(before, item)
    return everyone, after, first, lambda: totals(after, other)


def test_a_study_with_one_site_fewer_is_refused_at_enrolment_once_sums_were_given(
    coordinator: Any, four: Path
) -> None:
    before = coordinator.rehearse(four, sites="abcd").federation("first")
    before.enrol()
    totals(before, MEANS)
    after = coordinator.rehearse(four, sites="abc", visitors="d").federation("second")
    with pytest.raises(RefusedError, match="refuses: rule participants"):
        after.enrol()
    asked = {heard.kind for heard in after.grid.heard}
    assert (asked, refused_rules(after)) == ({"query.enrol"}, {"participants"})


def test_a_hospital_under_another_key_counts_as_another_hospital(
    coordinator: Any, four: Path
) -> None:
    """The coordinator says that d made new keys: a d of its own, whose numbers it could take off.

    The hospitals have approved that; only their memory of the key of before is left.
    """
    everyone = coordinator.rehearse(four, sites="abcd")
    before = everyone.federation("first")
    before.enrol()
    totals(before, MEANS)
    own = identity.public_text(identity.generate().public_key())
    *others, d = everyone.study.sites
    forged = everyone.study.model_copy(
        update={"sites": (*others, d.model_copy(update={"public_key": own}))}
    )
    after = coordinator.Rehearsal(forged, everyone.sites).federation("second")
    with pytest.raises(RefusedError, match="refuses: rule participants"):
        after.enrol()
    refused = {heard.site for heard in after.grid.heard if isinstance(heard.reply, Refused)}
    assert refused >= {"a", "b", "c"}
    assert refused_rules(after) == {"participants"}


def test_the_same_sum_with_one_site_fewer_is_refused(coordinator: Any, four: Path) -> None:
    _, after, _, again = with_and_without_d(coordinator, four, MEANS, MEANS)
    with pytest.raises(RefusedError, match="refuses: rule participants"):
        again()
    assert refused_rules(after) == {"participants"}


def test_without_the_rule_the_difference_is_the_sites_statistic(
    coordinator: Any, four: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.store.releases.Releases, "_other_sites", lambda *_: iter(()))
    everyone, _, first, again = with_and_without_d(coordinator, four, MEANS, MEANS)
    second = again()
    true = from_rings(MEANS.statistic, everyone.true_rings("d", MEANS, "first"), len(COLUMNS))
    assert np.array_equal(first["count"] - second["count"], true["count"])
    assert np.array_equal(first["total"] - second["total"], true["total"])


IDLE = Standardise(columns=COLUMNS, mean=np.zeros(2), scale=np.ones(2))
DISGUISED = {
    "a step that changes nothing": SumItem(Means(), VIEW.then(IDLE), "train"),
    "another statistic of the same numbers": SumItem(CentredSquares(np.zeros(2)), VIEW, "train"),
}


@pytest.mark.parametrize("name", DISGUISED)
def test_the_sum_in_disguise_with_one_site_fewer_is_refused(
    coordinator: Any, four: Path, name: str
) -> None:
    again = with_and_without_d(coordinator, four, MEANS, DISGUISED[name])[3]
    with pytest.raises(RefusedError, match="refuses: rule participants"):
        again()


OVERLAPPING = {"internal": ("internal_test", "abc"), "all": ("internal_test", "abcd")}


def test_two_test_sets_of_the_same_patients_that_differ_by_a_site_are_refused(
    coordinator: Any, four: Path
) -> None:
    with pytest.raises(StudyError):
        federation = coordinator.rehearse(four, sites="abcd", tests=OVERLAPPING).federation()
        federation.enrol()
        for subset in ("internal", "all"):
            totals(federation, SumItem(Means(), VIEW, subset))


# -- sums that tell of a site only together --------------------------------------------------------

FANO = ("abc", "ade", "afg", "bdf", "beg", "cdg", "cef")


@pytest.fixture
def seven(tmp_path: Path) -> Path:
    """Seven hospitals with test patients, and a study that names no test set over them yet."""
    for index, name in enumerate("abcdefg"):
        write_tabular_hospital(tmp_path / name, name, 40, 12 + index, 0)
    return tmp_path


def seven_with(coordinator: Any, folder: Path, sets: tuple[str, ...]) -> Any:
    """A study over the seven with test sets over the sites named."""
    tests = {f"t{i}": ("internal_test", one) for i, one in enumerate(sets)}
    overrides = {**builders.TABULAR, "sites": "abcdefg", "tests": tests}
    builders.study_file(folder / "study.toml", **overrides)
    open_workspace.cache_clear()
    return coordinator.rehearse(folder)


def test_a_study_whose_test_sets_give_every_site_together_is_refused_at_enrolment(
    coordinator: Any, seven: Path
) -> None:
    federation = seven_with(coordinator, seven, FANO).federation()
    with pytest.raises(RefusedError, match="refuses: rule participants"):
        federation.enrol()


def test_two_studies_whose_test_sets_give_every_site_together_are_not_both_answered(
    coordinator: Any, seven: Path
) -> None:
    halves = {"first": FANO[:4], "second": FANO[4:]}
    enrolled = {
        label: seven_with(coordinator, seven, sets).federation(label)
        for label, sets in halves.items()
    }
    for federation in enrolled.values():  # before any sum: else the second is refused here
        federation.enrol()
    for label, sets in halves.items():
        federation = enrolled[label]
        items = [SumItem(Means(), VIEW, f"t{i}") for i in range(len(sets))]
        if label == "second":
            with pytest.raises(RefusedError, match="refuses: rule participants"):
                federation.sum_many(items)
        else:
            federation.sum_many(items)
