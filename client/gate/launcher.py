"""Start the app's process for every message without the seconds that its libraries take to load.

Flower's SuperExec starts a fresh Python for each message. Here a process that has loaded Flower,
the numerical libraries and this release's ClientApp forks instead; the fork ends with its message.
What is loaded is what runs: Flower puts the folder of the coordinator's app on the path, where
nothing could take the place of a module that is loaded already.

Launcher and forks talk to nobody but the SuperNode, which proves itself (`client.gate.loopback`).

`fedlnm-site run` starts `python -m client.gate.launcher` with the arguments of flower-superexec.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
from io import TextIOWrapper
from typing import Any

from common.utils.processes import end_with_this_thread, run_program, write_for_this_user_alone

# loaded before the first fork: the app, and what its handlers load when they need it
PRELOADED = (
    "client.app",
    "common.flower.superexec",
    "torch",
    "monai.networks.nets",
    # what an optimiser loads at its first step
    "torch._dynamo",
)


class ForkingExecutor:
    """Starter of app processes for Flower's SuperExec, which asks the warm process to fork.

    Parameters
    ----------
    requests : the warm process's pipe.
    """

    def __init__(self, requests: TextIOWrapper) -> None:
        self._requests = requests

    def get_eligible_capacity(
        self, supported_task_types: set[Any], **_: Any
    ) -> tuple[set[Any], set[str]]:
        """Return every type of task: there is always room for one more process."""
        return supported_task_types, set()

    def wait_for_capacity(self, *_: Any, **__: Any) -> None:
        """Return at once."""

    def reconcile(self) -> None:
        """Do nothing, as nothing is kept between two messages."""

    def close(self) -> None:
        """Let the warm process end."""
        self._requests.close()

    def launch(self, spec: Any) -> Any:
        """Start the process of one message."""
        from common.flower.superexec import LaunchResult, TaskType

        if spec.task_type != TaskType.CLIENT_APP:
            return LaunchResult.failed("only a hospital's own app is started here")
        if spec.insecure or not spec.root_certificates_path:
            return LaunchResult.failed("the SuperNode has not proved itself")
        arguments = ["flwr-clientapp", "--root-certificates", spec.root_certificates_path]
        arguments += ["--token", spec.token, "--runtime-api-address", spec.runtime_api_address]
        arguments += ["--parent-pid", str(spec.parent_pid)]
        self._requests.write(json.dumps(arguments) + "\n")
        self._requests.flush()
        return LaunchResult.accepted()


def serve_forks(requests: TextIOWrapper) -> None:
    """Load what is preloaded, then fork for every line of arguments, until there are no more."""
    from common.flower.arrays import join_arrays_once
    from common.flower.superexec import flwr_clientapp

    for name in PRELOADED:
        importlib.import_module(name)
    join_arrays_once()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the SuperExec hears Ctrl-C, and closes
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the processes of messages
    for line in requests:
        if os.fork() == 0:
            os.close(requests.fileno())
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            sys.argv = json.loads(line)
            end_with_this_thread(flwr_clientapp)  # a fork must not go on with this loop


def main() -> None:
    """Run Flower's SuperExec with the warm process in place of its executor."""
    write_for_this_user_alone()
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(writing)
        with os.fdopen(reading, "r", encoding="utf-8") as requests:
            serve_forks(requests)
        os._exit(0)
    os.close(reading)
    from common.flower.superexec import replace_executor, run_superexec

    replace_executor(ForkingExecutor(os.fdopen(writing, "w", encoding="utf-8")))
    sys.argv[0] = "flower-superexec"
    run_program(run_superexec)


if __name__ == "__main__":
    main()
