"""Starts the app's process for every message, without the seconds that its libraries take to load.

Flower's SuperExec starts a fresh Python for each message. Here a process that has loaded Flower and
the numerical libraries, and nothing of ours, forks instead; the fork loads the approved app as
Flower does and ends with its message. Replaces one function of Flower 1.41 (`get_executor`).

`fedlnm-site run` starts `python -m client.gate.launcher` with the arguments of flower-superexec.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
import traceback
from io import TextIOWrapper
from typing import Any, NoReturn

FLOWER = "1.41.0"
OURS = ("client", "common", "server", "strategies", "sim")
# what handlers import; loaded once, before the first fork
LIBRARIES = (
    "flwr.app",
    "flwr.clientapp",
    "flwr.supernode.cli",
    "pandas",
    "pydantic",
    "scipy.stats",
    "cryptography.hazmat.primitives.asymmetric.x25519",
    "threadpoolctl",
    "torch",
    "monai.networks.nets",
    # what an optimiser loads at its first step
    "torch._dynamo",
)


class ForkingExecutor:
    """Flower's interface of what starts app processes; asks the warm process to fork.

    Parameters
    ----------
    requests : the warm process's pipe.
    """

    def __init__(self, requests: TextIOWrapper) -> None:
        self._requests = requests

    def get_eligible_capacity(
        self, supported_task_types: set[Any], **_: Any
    ) -> tuple[set[Any], set[str]]:
        """There is always room for one more process."""
        return supported_task_types, set()

    def wait_for_capacity(self, *_: Any, **__: Any) -> None:
        """Return at once."""

    def reconcile(self) -> None:
        """Nothing is kept between two messages."""

    def close(self) -> None:
        """Let the warm process end."""
        self._requests.close()

    def launch(self, spec: Any) -> Any:
        """Start the process of one message."""
        from flwr.supercore.constant import TaskType
        from flwr.supercore.superexec.executor.types import LaunchResult

        if spec.task_type != TaskType.CLIENT_APP or not spec.insecure:
            return LaunchResult.failed("only a hospital's own app is started here")
        arguments = ["flwr-clientapp", "--insecure", "--token", spec.token]
        arguments += ["--runtime-api-address", spec.runtime_api_address]
        arguments += ["--parent-pid", str(spec.parent_pid)]
        self._requests.write(json.dumps(arguments) + "\n")
        self._requests.flush()
        return LaunchResult.accepted()


def serve_forks(requests: TextIOWrapper) -> None:
    """Load the libraries, then fork for every line of arguments, until there are no more."""
    for name in LIBRARIES:
        importlib.import_module(name)
    take_arrays_in_once()
    forget_own_code()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the SuperExec hears Ctrl-C, and closes
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the processes of messages
    for line in requests:
        if os.fork() == 0:
            os.close(requests.fileno())
            _run_app(json.loads(line))


def _run_app(arguments: list[str]) -> NoReturn:
    """What the program flwr-clientapp does, in this fork."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code = 1
    try:
        from flwr.supernode.cli import flwr_clientapp

        sys.argv = arguments
        flwr_clientapp()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # the fork must not go on with the warm process's loop
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def take_arrays_in_once() -> None:
    """Let every fork put a large message together without Flower's copies."""
    from common.messages.flower_arrays import join_arrays_once

    join_arrays_once()


def forget_own_code() -> None:
    """Drop this release's modules, so that a fork imports those of the app that was approved."""
    for name in list(sys.modules):
        if name.partition(".")[0] in OURS:
            del sys.modules[name]


def main() -> None:
    """Run Flower's SuperExec with the warm process in place of its executor."""
    os.umask(0o077)  # what an app and its libraries write is for this user alone
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(writing)
        with os.fdopen(reading, "r", encoding="utf-8") as requests:
            serve_forks(requests)
        os._exit(0)
    os.close(reading)
    from flwr.supercore.cli.flower_superexec import flower_superexec

    replace_executor(ForkingExecutor(os.fdopen(writing, "w", encoding="utf-8")))
    sys.argv[0] = "flower-superexec"
    flower_superexec()


def replace_executor(executor: ForkingExecutor) -> None:
    """Let Flower's SuperExec start apps through this.

    Raises
    ------
    StudyError : Flower is not as this module was written for.
    """
    from flwr.supercore.superexec import run_superexec
    from flwr.supercore.version import package_version

    from common.errors import StudyError

    used = run_superexec.run_superexec.__code__.co_names
    if package_version != FLOWER or "get_executor" not in used:
        raise StudyError(
            f"Flower {package_version} is not the one that the launcher of apps was made for",
            where="launcher",
            remedy=f"install flwr {FLOWER}",
        )
    vars(run_superexec)["get_executor"] = lambda *_, **__: executor


if __name__ == "__main__":
    main()
