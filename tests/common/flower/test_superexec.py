"""The launcher's seam in Flower's SuperExec: tests that fail when the seam moves."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any

import pytest
from flwr.supercore.superexec import run_superexec
from flwr.supernode.runtime import run_clientapp

from common.errors import StudyError
from common.flower import superexec

EXECUTOR: Any = SimpleNamespace(launch=None)


def test_flower_asks_the_executor_that_replaced_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_superexec, "get_executor", run_superexec.get_executor)
    superexec.replace_executor(EXECUTOR)
    assert vars(run_superexec)["get_executor"]("any", settings="at all") is EXECUTOR


def test_another_flower_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(superexec, "package_version", "1.42.0")
    with pytest.raises(StudyError, match=r"install flwr 1\.41\.0"):
        superexec.replace_executor(EXECUTOR)


def test_a_moved_seam_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_superexec, "run_superexec", lambda: None)
    with pytest.raises(StudyError, match="launcher"):
        superexec.replace_executor(EXECUTOR)


def test_only_this_app_and_this_site_are_taken_whatever_is_handed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handed = SimpleNamespace(content=b"an app")
    context = SimpleNamespace(node_config={"site-config": "/somewhere/else"})
    pulled = ("message", context, "run", handed)
    monkeypatch.setattr(run_clientapp, "pull_task_input", lambda _: pulled)
    superexec.accept_only(hashlib.sha256(b"an app").hexdigest(), "/site.toml")
    run_clientapp.pull_task_input(None)  # type: ignore[arg-type]
    assert context.node_config == {"site-config": "/site.toml"}
    handed.content = b"another"
    with pytest.raises(StudyError, match="not of this release"):
        run_clientapp.pull_task_input(None)  # type: ignore[arg-type]


def test_a_moved_input_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_clientapp, "run_clientapp", lambda: None)
    with pytest.raises(StudyError, match="launcher"):
        superexec.accept_only("0" * 64, "/site.toml")
