"""Flower's SuperExec, which a hospital's launcher takes over."""

from __future__ import annotations

from typing import Any, Protocol

import flwr.supercore.superexec.run_superexec as loop
from flwr.supercore.cli.flower_superexec import flower_superexec
from flwr.supercore.constant import TaskType
from flwr.supercore.superexec.executor.types import LaunchResult
from httpx import ConnectError

from common.errors import StudyError
from common.flower.seam import check_seam

__all__ = [
    "LaunchResult",
    "TaskType",
    "replace_executor",
    "run_superexec",
]


class Executor(Protocol):
    """Starter of app processes, as Flower's SuperExec calls it."""

    def launch(self, spec: Any) -> LaunchResult:
        """Start the process of one message."""


def replace_executor(executor: Executor) -> None:
    """Let Flower's SuperExec start apps through this.

    Raises
    ------
    StudyError : another release, or it no longer asks for an executor.
    """
    used = loop.run_superexec.__code__.co_names
    moved = () if "get_executor" in used else ("get_executor",)
    check_seam("the launcher of apps", (), where="launcher", moved=moved)
    vars(loop)["get_executor"] = lambda *_, **__: executor


def run_superexec() -> None:
    """Run flower-superexec with the arguments in `sys.argv`.

    Raises
    ------
    StudyError : another program holds the SuperNode's port, since it lacks its certificate.
    """
    try:
        flower_superexec()
    except ConnectError as error:
        raise StudyError(
            f"a program that is not this site's SuperNode listens on its port ({error})",
            where="launcher",
            remedy="end that program, or choose another port in site.toml",
        ) from None
