"""The launcher's seam in Flower's SuperExec: tests that fail when the seam moves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from flwr.supercore.superexec import run_superexec
from httpx import ConnectError

from common.errors import StudyError
from common.flower import seam, superexec

EXECUTOR: Any = SimpleNamespace(launch=None)


def test_flower_asks_the_executor_that_replaced_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_superexec, "get_executor", run_superexec.get_executor)
    superexec.replace_executor(EXECUTOR)
    assert vars(run_superexec)["get_executor"]("any", settings="at all") is EXECUTOR


def test_another_flower_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seam, "package_version", "1.42.0")
    with pytest.raises(StudyError, match=r"install flwr 1\.41\.0"):
        superexec.replace_executor(EXECUTOR)


def test_a_moved_seam_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_superexec, "run_superexec", lambda: None)
    with pytest.raises(StudyError, match="launcher"):
        superexec.replace_executor(EXECUTOR)


def test_a_program_without_the_supernodes_certificate_is_put_into_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> None:
        raise ConnectError("certificate verify failed")

    monkeypatch.setattr(superexec, "flower_superexec", refuse)
    with pytest.raises(StudyError, match=r"not this site's SuperNode listens .*verify failed"):
        superexec.run_superexec()
