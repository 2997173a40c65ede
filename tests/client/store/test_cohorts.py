"""Nobody is named, a cohort changes by nobody or by many, and a run keeps its cohort."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from client.app import app
from client.data.cohort import read_cohort
from client.imaging.cache import ContentCache
from client.imaging.preparation import Preparation
from client.imaging.prepared import PreparedImages
from client.store.cohorts import (
    SMALLEST_CHANGE,
    CohortFingerprint,
    Memberships,
    changed_by,
    changed_by_few,
    fix_levels,
)
from client.store.site_db import Draft, SiteDb, site_db
from client.workspace import open_workspace
from common.disclosure.rule import RULES
from common.errors import InputError, StudyError
from common.messages.codec import decode, encode
from common.messages.exchanges import (
    EnrolReply,
    EnrolRequest,
    Problem,
    Refused,
    SumItem,
    SumRequest,
)
from common.statistics.moments import Means
from common.study.model import Study, load_study
from common.transforms.views import table
from sim.engines.inprocess import task_identity
from sim.sites import with_identities
from tests import builders

IDS = [f"patient-{i:03d}" for i in range(60)]


def members(*names: int) -> frozenset[str]:
    return frozenset(f"m{name}" for name in names)


def test_the_same_patients_have_the_same_digest_in_any_order(tmp_path: Path) -> None:
    memberships = Memberships(tmp_path)
    assert memberships.of(IDS) == memberships.of([*reversed(IDS), IDS[0]])
    assert memberships.of(IDS).digest != memberships.of(IDS[1:]).digest
    assert memberships.of(["Mu\u0308ller"]) == memberships.of(["M\u00fcller"])


def test_a_later_process_recognises_the_patients(tmp_path: Path) -> None:
    digest = Memberships(tmp_path).keep(Memberships(tmp_path).of(IDS))
    again = Memberships(tmp_path)
    assert again.recall(digest) == again.of(IDS)
    assert changed_by(again.recall(digest).members, again.of(IDS[3:]).members) == 3


def test_nobody_without_the_key_can_try_out_ids(tmp_path: Path) -> None:
    mine, theirs = Memberships(tmp_path / "a"), Memberships(tmp_path / "b")
    assert not mine.of(IDS).members & theirs.of(IDS).members
    plain = {hashlib.sha256(name.encode()).hexdigest() for name in IDS}
    assert not mine.of(IDS).members & plain


def test_no_id_gets_into_the_sites_memory(tmp_path: Path) -> None:
    memberships = Memberships(tmp_path)
    memberships.keep(memberships.of(IDS))
    for path in tmp_path.rglob("*"):
        assert b"patient" not in path.read_bytes()


def test_the_key_is_made_once_whichever_process_asks_first(tmp_path: Path) -> None:
    first, second = SiteDb(tmp_path), SiteDb(tmp_path)
    assert first.fix("membership key", "", "ab" * 32) == second.fix("membership key", "", "cd" * 32)


def test_a_lost_or_changed_set_stops_the_rule_from_passing(tmp_path: Path) -> None:
    memberships = Memberships(tmp_path)
    digest = memberships.of(IDS).digest
    with pytest.raises(StudyError, match="lost or damaged"):
        memberships.recall(digest)
    site_db(tmp_path).fix("membership", digest, memberships.of(IDS[1:]).text)
    with pytest.raises(StudyError, match="lost or damaged"):
        memberships.recall(digest)


@pytest.mark.parametrize(
    ("joined", "left", "refused"),
    [
        *[(0, 0, False), (1, 0, True), (0, 1, True), (9, 0, True), (5, 4, True)],
        *[(5, 5, False), (10, 0, False), (0, 10, False), (30, 0, False)],
    ],
)
def test_a_change_by_one_to_nine_patients_is_refused(joined: int, left: int, refused: bool) -> None:
    before = members(*range(40))
    now = members(*range(left, 40 + joined))
    assert changed_by(before, now) == joined + left
    assert changed_by_few([before], now) is refused
    assert RULES["membership"].fixed == SMALLEST_CHANGE


def test_a_first_release_is_allowed() -> None:
    assert not changed_by_few([], members(1, 2, 3))


def test_a_small_change_hidden_behind_a_large_one_is_refused() -> None:
    first, second, third = members(*range(40)), members(*range(60)), members(*range(41))
    assert not changed_by_few([first], second)
    assert not changed_by_few([second], third)
    assert changed_by_few([first, second], third)


def test_a_site_may_ask_for_a_larger_change() -> None:
    assert changed_by_few([members(*range(40))], members(*range(55)), 20)


@given(*[st.frozensets(st.text(max_size=2))] * 3)
def test_changes_are_a_distance(
    one: frozenset[str], two: frozenset[str], three: frozenset[str]
) -> None:
    assert changed_by(one, one) == 0
    assert changed_by(one, two) == changed_by(two, one) == len(one - two) + len(two - one)
    assert changed_by(one, three) <= changed_by(one, two) + changed_by(two, three)


# -- a run keeps its cohort ----------------------------------------------------------------------


@pytest.fixture(autouse=True)
def node_identity() -> Iterator[None]:
    with task_identity(7):
        yield


@pytest.fixture
def study(tabular: Path) -> Study:
    return with_identities(load_study(tabular / "study.toml"))


def ask(site: Path, kind: str, request: Any) -> Any:
    """As a new process of the site would answer."""
    open_workspace.cache_clear()
    config: dict[str, Any] = {"site-config": str(site)}
    context = Context(run_id=1, node_id=7, node_config=config, state=RecordDict(), run_config={})
    return decode(app(Message(encode(request), 7, kind), context).content)


def enrol(site: Path, study: Study, run: str = "r") -> Any:
    text = study.model_dump_json()
    return ask(site, "query.enrol", EnrolRequest(run=run, study=study.digest(), study_json=text))


def edit(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([lines[0], *change(lines[1:])]) + "\n", encoding="utf-8")


def flip_a_label(rows: list[str]) -> list[str]:
    patient, label, *rest = rows[0].split(",")
    return [",".join([patient, str(1 - int(label)), *rest]), *rows[1:]]


def change_an_age(rows: list[str]) -> list[str]:
    cells = rows[0].split(",")
    return [",".join([*cells[:4], "99", *cells[5:]]), *rows[1:]]


def move_to_training(rows: list[str]) -> list[str]:
    return [*rows[:-1], rows[-1].replace("internal_test", "train")]


@pytest.mark.parametrize("change", [flip_a_label, change_an_age, move_to_training])
def test_a_run_does_not_go_on_with_other_values(
    site: Path, study: Study, tabular: Path, change: Callable[[list[str]], list[str]]
) -> None:
    assert isinstance(enrol(site, study), EnrolReply)
    edit(tabular / "a" / "cohort.csv", change)
    reply = enrol(site, study)
    assert isinstance(reply, Problem)
    log = (site.parent / "work" / "errors.log").read_text(encoding="utf-8")
    assert "the cohort changed since run r began -> begin a new run" in log


def test_nor_does_it_answer_between_two_enrolments(site: Path, study: Study, tabular: Path) -> None:
    enrol(site, study)
    edit(tabular / "a" / "cohort.csv", change_an_age)
    item = SumItem(Means(), table("clinical"), "train")
    request = SumRequest(
        run="r", study=study.digest(), session="s", number=1, items=(item,), keys=()
    )
    assert isinstance(ask(site, "query.sum", request), Problem)


def test_another_run_may_have_other_values(site: Path, study: Study, tabular: Path) -> None:
    enrol(site, study)
    edit(tabular / "a" / "cohort.csv", change_an_age)
    assert isinstance(enrol(site, study, "another"), EnrolReply)


def test_the_order_of_the_rows_and_unread_columns_do_not_matter(
    site: Path, study: Study, tabular: Path
) -> None:
    enrol(site, study)
    path = tabular / "a" / "cohort.csv"
    edit(path, lambda rows: rows[::-1])
    text = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([text[0] + ",remark", *(row + ",x" for row in text[1:])]) + "\n")
    assert isinstance(enrol(site, study), EnrolReply)


def test_a_run_that_a_site_refused_has_not_begun(site: Path, tabular: Path) -> None:
    strict = builders.amended(tabular / "study.toml", privacy={"min_rows": 61})
    strict = with_identities(strict)
    assert isinstance(enrol(site, strict), Refused)
    edit(tabular / "a" / "cohort.csv", lambda rows: [*rows, "new,1,train,0.5,60,male,1"])
    assert isinstance(enrol(site, strict), EnrolReply)


def test_another_contour_under_the_same_name_is_another_cohort(tmp_path: Path) -> None:
    study = builders.study(base_models=["dl3d"])
    for name in ("image.nii", "mask.nii"):
        (tmp_path / name).write_bytes(name.encode())
    rows = "patient_id,label,split,image,mask\np,1,train,image.nii,mask.nii\n"
    (tmp_path / "cohort.csv").write_text(rows, encoding="utf-8")
    cache = ContentCache(tmp_path / "cache")
    images = PreparedImages(Preparation(cache, None, None, {}, {}, ()))

    def found(draft: Draft) -> CohortFingerprint:
        return CohortFingerprint(draft, study, "r", read_cohort(tmp_path, "a", study), images)

    draft = Draft(tmp_path / "work")
    found(draft).remember()
    draft.remember()
    found(Draft(tmp_path / "work")).check()
    (tmp_path / "mask.nii").write_bytes(b"drawn again")
    with pytest.raises(InputError, match="the cohort changed since run r began"):
        found(Draft(tmp_path / "work")).check()


def test_a_run_is_bound_to_its_cohort_by_the_release_and_not_before(
    site: Path, study: Study, tabular: Path
) -> None:
    """A reply that could not be remembered has bound nothing."""
    enrol(site, study)
    draft = Draft(site.parent / "work")
    cohort = read_cohort(tabular / "a", "a", study)
    CohortFingerprint(draft, study, "another", cohort, None).remember()
    draft.drop()
    edit(tabular / "a" / "cohort.csv", change_an_age)
    assert isinstance(enrol(site, study, "another"), EnrolReply)


# -- levels stay as they were first made --------------------------------------------------------

LEVELS_OF, OTHER = "a" * 64, "b" * 64
PATIENTS = ("p1", "p2", "p3")
CODES = np.array([[0.0], [1.0], [np.nan]])
CHANGED = np.array([[0.0], [0.0], [np.nan]])


def admit(work: Path, study: str, patients: Sequence[str], codes: Any) -> bool:
    """As a reply of a new process does, whose release is remembered."""
    draft = Draft(work)
    admitted = fix_levels(draft, study, patients, codes)
    draft.remember()
    return admitted


def test_the_same_levels_are_admitted_again_and_others_are_not(tmp_path: Path) -> None:
    assert admit(tmp_path, LEVELS_OF, PATIENTS, CODES)
    assert admit(tmp_path, LEVELS_OF, PATIENTS, CODES)
    assert not admit(tmp_path, LEVELS_OF, PATIENTS, CHANGED)
    assert not admit(tmp_path, LEVELS_OF, PATIENTS, np.zeros((3, 1)))
    assert admit(tmp_path, LEVELS_OF, PATIENTS, CODES)


def test_what_was_refused_does_not_become_what_is_known(tmp_path: Path) -> None:
    admit(tmp_path, LEVELS_OF, PATIENTS, CODES)
    for _ in range(2):
        assert not admit(tmp_path, LEVELS_OF, PATIENTS, CHANGED)


def test_the_order_of_the_patients_does_not_matter(tmp_path: Path) -> None:
    admit(tmp_path, LEVELS_OF, PATIENTS, CODES)
    assert admit(tmp_path, LEVELS_OF, PATIENTS[::-1], CODES[::-1])
    assert not admit(tmp_path, LEVELS_OF, PATIENTS[::-1], CODES)


def test_other_patients_and_another_study_have_levels_of_their_own(tmp_path: Path) -> None:
    admit(tmp_path, LEVELS_OF, PATIENTS, CODES)
    assert admit(tmp_path, LEVELS_OF, PATIENTS[:2], CHANGED[:2])
    assert admit(tmp_path, OTHER, PATIENTS, CHANGED)
