"""Files of a site's own run of a study."""

from __future__ import annotations

from pathlib import Path

from client.store.derived_files import MOST_ENROLLED, DerivedFiles
from common.messages.exchanges import NOBODY, KeyRequest


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
