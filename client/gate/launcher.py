"""Start the app's process for every message without the seconds that its libraries take to load.

Flower's SuperExec starts a fresh Python for each message. Here a process that has loaded Flower,
the numerical libraries and this release's ClientApp forks instead; the fork ends with its message.
What is loaded is what runs: Flower puts the folder of the coordinator's app on the path, where
nothing could take the place of a module that is loaded already.

A fork takes its message only from a program of the same user, for the installed app and this
site.toml: while no SuperNode listens, another user of the machine could listen in its place.

`fedlnm-site run` starts `python -m client.gate.launcher SITE_TOML` with the arguments of
flower-superexec.
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

# loaded before the first fork: the app, and what its handlers load when they need it
PRELOADED = (
    "client.app",
    "common.flower.superexec",
    "torch",
    "monai.networks.nets",
    # what an optimiser loads at its first step
    "torch._dynamo",
)

_ADDRESS = "--runtime-api-address"


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

        if spec.task_type != TaskType.CLIENT_APP or not spec.insecure:
            return LaunchResult.failed("only a hospital's own app is started here")
        arguments = ["flwr-clientapp", "--insecure", "--token", spec.token]
        arguments += [_ADDRESS, spec.runtime_api_address]
        arguments += ["--parent-pid", str(spec.parent_pid)]
        self._requests.write(json.dumps(arguments) + "\n")
        self._requests.flush()
        return LaunchResult.accepted()


def serve_forks(requests: TextIOWrapper, site: str) -> None:
    """Load what is preloaded, then fork for every line of arguments, until there are no more.

    Parameters
    ----------
    site : path of site.toml.
    """
    from common.flower.arrays import join_arrays_once

    for name in PRELOADED:
        importlib.import_module(name)
    join_arrays_once()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the SuperExec hears Ctrl-C, and closes
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the processes of messages
    for line in requests:
        if os.fork() == 0:
            os.close(requests.fileno())
            _run_app(json.loads(line), site)


def _run_app(arguments: list[str], site: str) -> NoReturn:
    """Run the program flwr-clientapp in this fork."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code = 1
    try:
        from common.flower.app import installed_app
        from common.flower.superexec import accept_only, flwr_clientapp
        from common.utils.processes import check_own_listener

        check_own_listener(int(arguments[arguments.index(_ADDRESS) + 1].rpartition(":")[2]))
        accept_only(installed_app().digest, site)
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


def main() -> None:
    """Run Flower's SuperExec with the warm process in place of its executor."""
    os.umask(0o077)  # what an app and its libraries write is for this user alone
    site = sys.argv.pop(1)
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(writing)
        with os.fdopen(reading, "r", encoding="utf-8") as requests:
            serve_forks(requests, site)
        os._exit(0)
    os.close(reading)
    from common.flower.superexec import flower_superexec, replace_executor

    replace_executor(ForkingExecutor(os.fdopen(writing, "w", encoding="utf-8")))
    sys.argv[0] = "flower-superexec"
    flower_superexec()


if __name__ == "__main__":
    main()
