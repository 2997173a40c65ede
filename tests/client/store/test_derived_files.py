from __future__ import annotations

from pathlib import Path

import pytest

from client.store.derived_files import MOST_ENROLLED, DerivedFiles, StandIns
from client.store.site_db import SiteDb
from common.messages.exchanges import NOBODY, KeyRequest


def test_what_stood_in_adds_up_and_outlasts_a_restart(tmp_path: Path) -> None:
    StandIns(SiteDb(tmp_path), "r").remember(3, "clinical/lasso/0", 0.25)
    StandIns(SiteDb(tmp_path), "r").remember(5, "clinical/lasso/1", 0.1)
    found = StandIns(SiteDb(tmp_path), "r")
    assert set(found.all()) == {
        ("clinical/lasso/0", 0.25),
        ("clinical/lasso/1", 0.1),
    }
    assert (found.count, found.together) == (2, pytest.approx(0.35))


def test_an_answer_that_is_heard_again_counts_once_and_other_runs_do_not(tmp_path: Path) -> None:
    found = StandIns(SiteDb(tmp_path), "r")
    for _ in range(2):
        found.remember(3, "deep/axes/0", 0.5)
    for other in ("q", "r2", "s", "r-1"):
        StandIns(SiteDb(tmp_path), other).remember(3, "deep/axes/0", 0.5)
    assert (found.count, found.together) == (1, 0.5)


def asked(session: int) -> KeyRequest:
    return KeyRequest("r", "study", str(session), (NOBODY,))


def test_a_question_for_keys_that_comes_late_takes_no_newer_ones_place(tmp_path: Path) -> None:
    files = DerivedFiles(tmp_path)
    files.keep_enrolled(asked(2))
    files.keep_enrolled(asked(1))
    for session in (1, 2):
        kept = files.enrolled(asked(session).digest)
        assert kept is not None
        assert kept.session == str(session)


def test_of_a_coordinator_that_asks_for_keys_again_and_again_few_questions_are_kept(
    tmp_path: Path,
) -> None:
    files = DerivedFiles(tmp_path)
    for session in range(3 * MOST_ENROLLED):
        files.keep_enrolled(asked(session))
    assert len(list(files.folder.iterdir())) == MOST_ENROLLED
    assert files.enrolled(asked(3 * MOST_ENROLLED - 1).digest) is not None
