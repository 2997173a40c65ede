"""Flower's SuperExec, which a hospital's launcher takes over, and the program of one message."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

from flwr.supercore.cli.flower_superexec import flower_superexec
from flwr.supercore.constant import TaskType
from flwr.supercore.superexec import run_superexec
from flwr.supercore.superexec.executor.types import LaunchResult
from flwr.supercore.version import package_version
from flwr.supernode.cli.flwr_clientapp import flwr_clientapp
from flwr.supernode.runtime import run_clientapp

from common.errors import StudyError
from common.flower.app import FLOWER

__all__ = [
    "LaunchResult",
    "TaskType",
    "accept_only",
    "flower_superexec",
    "flwr_clientapp",
    "replace_executor",
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
    used = run_superexec.run_superexec.__code__.co_names
    if package_version != FLOWER or "get_executor" not in used:
        raise StudyError(
            f"Flower {package_version} is not the one that the launcher of apps was made for",
            where="launcher",
            remedy=f"install flwr {FLOWER}",
        )
    vars(run_superexec)["get_executor"] = lambda *_, **__: executor


def accept_only(digest: str, site: str) -> None:
    """Let the program of one message take this app and this site.toml, whatever it is handed.

    Whoever listens where the SuperNode should be can name any app and any site of its own.

    Parameters
    ----------
    digest : SHA-256 of the FAB, hexadecimal.
    site : path of site.toml.

    Raises
    ------
    StudyError : Flower's program no longer takes its input where this stands.
    """
    pull = vars(run_clientapp).get("pull_task_input")
    if pull is None or "pull_task_input" not in run_clientapp.run_clientapp.__code__.co_names:
        raise StudyError("Flower takes its input elsewhere", where="launcher")

    def pull_checked(client: Any) -> Any:
        message, context, run, fab = pull(client)
        if hashlib.sha256(fab.content).hexdigest() != digest:
            raise StudyError("an app that is not of this release was handed over", where="launcher")
        context.node_config = {"site-config": site}
        return message, context, run, fab

    vars(run_clientapp)["pull_task_input"] = pull_checked
