"""Keep the app's process warm, and hand it message after message.

Flower's SuperExec starts a fresh Python for each message, which loads libraries for seconds and
reads the cohort anew. Here a process that has loaded this release's ClientApp forks a process of
the app, which answers message after message. It is replaced when it dies, and ends when it has
grown or nothing was asked for long, so that its memory goes back. What is loaded is what runs:
nothing of the coordinator's app is put on the path.

Launcher and app talk to nobody but the SuperNode, which proves itself (`client.gate.loopback`).

`fedlnm-site run` starts `python -m client.gate.launcher SITE.TOML` with the arguments of
flower-superexec.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from client.gate.site_log import leave_the_screen_to_the_site
from client.site import load_site
from common.utils.processes import end_with_this_thread, run_program, write_for_this_user_alone
from common.utils.start import load

APP, LINE = "client.app", "common.flower.app_line"
NETWORKS = ("torch", "monai.networks.nets", "torch._dynamo")
"""Libraries that only some studies need: loaded before a fork once a message has needed them."""
MEASURES = ("scipy.optimize", "scipy.stats")
"""Libraries that nearly every study needs, and that the app leaves to their first use."""
IDLE_SECONDS = 300.0
"""Time without a message after which the app's process ends."""
MOST_GROWTH = 512 * 2**20
"""Bytes that the app's process may keep from one message to the next; it ends when it has more."""
# the next message can come before the process has said that it is done with the last one
_DONE_SECONDS = 2.0
_GOES_ON, _NEEDED_NETWORKS = 1, 2


class ForkingExecutor:
    """Starter of app processes for Flower's SuperExec, which asks the warm process."""

    def __init__(self, requests: TextIOWrapper) -> None:
        self._requests = requests

    def get_eligible_capacity(
        self, supported_task_types: set[Any], **_: Any
    ) -> tuple[set[Any], set[str]]:
        """Return every type of task: there is always room for one more message."""
        return supported_task_types, set()

    def wait_for_capacity(self, *_: Any, **__: Any) -> None:
        """Return at once."""

    def reconcile(self) -> None:
        """Do nothing, as nothing is kept between two messages."""

    def close(self) -> None:
        """Let the warm process end."""
        self._requests.close()

    def launch(self, spec: Any) -> Any:
        """Have one message answered."""
        from common.flower.superexec import LaunchResult, TaskType

        if spec.task_type != TaskType.CLIENT_APP:
            return LaunchResult.failed("only a hospital's own app is started here")
        if spec.insecure or not spec.root_certificates_path:
            return LaunchResult.failed("the SuperNode has not proved itself")
        message = {
            "address": spec.runtime_api_address,
            "certificate": str(spec.root_certificates_path),
            "parent": spec.parent_pid,
            "token": spec.token,
        }
        self._requests.write(json.dumps(message) + "\n")
        self._requests.flush()
        return LaunchResult.accepted()


class AppProcess:
    """Process of the app, a fork of this one.

    Parameters
    ----------
    requests : pipe of this process, which the fork must not hold open.
    """

    def __init__(self, requests: int) -> None:
        messages, self._messages = os.pipe()
        self._ready, ready = os.pipe()
        self._busy = self._ended = self.needed_networks = False
        if os.fork() == 0:
            for end in (requests, self._messages, self._ready):
                os.close(end)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # a fork must not go on with the warm process's loop
            end_with_this_thread(lambda: _answer_until_grown(messages, ready))
        os.close(messages)
        os.close(ready)

    def take(self, message: bytes) -> bool:
        """Hand a message over; False where the process has ended, or hangs in the last one."""
        if not self.is_idle(_DONE_SECONDS) or self._ended:
            return False
        self._busy = True
        with suppress(BrokenPipeError):
            return os.write(self._messages, message + b"\n") > 0
        return False

    def is_idle(self, seconds: float = 0.0) -> bool:
        """Tell whether it has no message; for that, wait so long for the end of one."""
        if self._busy and select.select([self._ready], [], [], seconds)[0]:
            said = (os.read(self._ready, 1) or b"\0")[0]
            self._busy, self._ended = False, not said & _GOES_ON
            self.needed_networks = bool(said & _NEEDED_NETWORKS)
        return not self._busy

    def end(self) -> None:
        """Let it end with the message that it has, if it has one."""
        os.close(self._messages)
        os.close(self._ready)


def serve(requests: int) -> None:
    """Load the app, then have every message that comes in a pipe answered, to the pipe's end."""
    for name in (APP, LINE, *MEASURES):
        load(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the SuperExec hears Ctrl-C, and closes
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the processes of the app
    app: AppProcess | None = None
    for message in _lines(requests):
        if app is not None and (app.is_idle() if message is None else not app.take(message)):
            app.end()
            if app.needed_networks:
                _load_networks()
            app = None
        if app is None and message is not None:
            app = AppProcess(requests)
            app.take(message)


def _lines(pipe: int) -> Iterator[bytes | None]:
    """Yield the lines of a pipe to its end, and None whenever there was none for long."""
    rest = b""
    while True:
        if not select.select([pipe], [], [], IDLE_SECONDS)[0]:
            yield None
            continue
        if not (read := os.read(pipe, 65536)):
            return
        *lines, rest = (rest + read).split(b"\n")
        yield from lines


def _load_networks() -> None:
    for name in NETWORKS:
        load(name)


def _answer_until_grown(messages: int, ready: int) -> None:
    """Answer every message that comes in a pipe, and say in another how it went on."""
    from common.flower.app_line import AppLine
    from common.flower.arrays import join_arrays_once
    from common.flower.pushes import push_few_at_once

    join_arrays_once()
    push_few_at_once()
    app, line = importlib.import_module(APP).app, None
    most = _resident() + MOST_GROWTH
    with os.fdopen(messages, encoding="utf-8") as lines:
        for text in lines:
            one = json.loads(text)
            if line is None:
                line = AppLine(one["address"], Path(one["certificate"]), one["parent"])
            _rename("answering")
            line.answer(one["token"], app)
            _rename("waiting")
            if _resident() > most:
                _give_back()
            goes_on = _resident() <= most
            networks = _NEEDED_NETWORKS * set(NETWORKS).issubset(sys.modules)
            os.write(ready, bytes([networks | goes_on]))
            if not goes_on:
                return


def _rename(name: str) -> None:
    """Show in lists of processes what this one is at."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(f"fedlnm-{name}"[:15], encoding="ascii")


def _resident() -> int:
    """Return the bytes of memory that this process has."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _give_back() -> None:
    """Return what is free to the machine, where its C library can."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def main() -> None:
    """Run Flower's SuperExec with the warm process in place of its executor.

    The first argument is site.toml, the others are those of flower-superexec.
    """
    write_for_this_user_alone()
    leave_the_screen_to_the_site(load_site(Path(sys.argv.pop(1))))
    load(LINE)  # most of Flower, which both processes need, is loaded once
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(writing)
        serve(reading)
        os._exit(0)
    os.close(reading)
    flower = load("common.flower.superexec")
    flower.replace_executor(ForkingExecutor(os.fdopen(writing, "w", encoding="utf-8")))
    sys.argv[0] = "flower-superexec"
    run_program(flower.run_superexec)


if __name__ == "__main__":
    main()
