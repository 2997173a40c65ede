"""Background programs: started, watched, and stopped with this process."""

from __future__ import annotations

import errno
import fcntl
import gc
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from common.errors import StudyError
from common.utils import keeper
from common.utils.console import consoles

STOP_SECONDS, READY_SECONDS, SAY_SECONDS = 20.0, 3600.0, 30.0
AGAIN_SECONDS = 0.1
"""Time after which an interruption that was swallowed is repeated."""


def write_for_this_user_alone() -> None:
    """Make new files of this process and its children inaccessible to other users.

    For programs that are a hospital's alone: this covers files that libraries write beside ours.
    """
    os.umask(0o077)


class BackgroundProgram:
    """Background program, which on Linux ends with this process (see `kept`).

    Parameters
    ----------
    log : file for its output; None = that of this program.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path | None
    ) -> None:
        self._command, self._environment, self.log = list(command), dict(environment), log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, also: Mapping[str, str] | None = None) -> None:
        """Start or restart it.

        Parameters
        ----------
        also : what is added to its environment for this time.
        """
        with ExitStack() as stack:
            output = None
            if self.log is not None:
                self.log.parent.mkdir(parents=True, exist_ok=True)
                output = stack.enter_context(self.log.open("ab"))
            self._process = subprocess.Popen(  # noqa: S603
                kept(self._command),
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                stdin=subprocess.DEVNULL,
                env={**self._environment, **(also or {})},
                process_group=0,  # Ctrl-C is for this process alone, which then ends them
            )

    @property
    def running(self) -> bool:
        """True between its start and its end."""
        return self._process is not None and self._process.poll() is None

    def wait(self, seconds: float) -> bool:
        """Return whether it ends within this many seconds."""
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        return not self.running

    def stop(self) -> None:
        """Ask it to end, and kill it if it does not."""
        stop_all([self])

    def _ask_to_end(self) -> None:
        if self._process is not None and self.running:
            self._process.terminate()

    def _end(self) -> None:
        if self._process is not None and not self.wait(STOP_SECONDS):
            self._process.kill()
            self._process.wait()


def stop_all(programs: Sequence[BackgroundProgram]) -> None:
    """Ask all to end at once, and kill those that do not."""
    for program in programs:
        program._ask_to_end()
    for program in programs:
        program._end()


def kept(command: Sequence[str]) -> list[str]:
    """Return the command line of a program that ends with this process, and with all it starts.

    That holds however this process ends, even if it is killed. Only Linux offers it; elsewhere the
    command is returned unchanged.
    """
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-I", "-S", keeper.__file__, str(os.getpid()), *command]


def interrupt_when_terminated() -> None:
    """Handle SIGTERM like Ctrl-C, so that everything is cleaned up."""

    def interrupt(*_: object) -> None:
        """Raise KeyboardInterrupt, as Ctrl-C does."""
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    sys.unraisablehook = _interrupt_again


def _interrupt_again(ignored: Any) -> None:
    """Repeat an interruption that compiled code has swallowed, and report anything else as usual.

    Where a library calls Python back, as numba does while it compiles, an exception goes no
    further: the command would go on as if nobody had interrupted it.
    """
    if ignored.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(ignored)
        return
    # not from here, as it would be ignored in turn
    again = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), signal.SIGTERM))
    again.daemon = True
    again.start()


def free_port() -> int:
    """Return a TCP port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_taken(port: int) -> bool:
    """Return whether somebody listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until_ready(
    program: BackgroundProgram,
    port: int,
    authority: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Wait until a Flower program reports on its port that it is ready, for as long as it lives.

    A machine under load may take minutes to start it.

    Parameters
    ----------
    authority : certificate that its own is checked with; None = it speaks without TLS.
    say : takes a line every half minute about what is waited for.

    Raises
    ------
    StudyError : it ended, or was not ready within `READY_SECONDS`, an hour.
    """
    context = ssl.create_default_context(cafile=str(authority)) if authority else None
    url = f"{'https' if authority else 'http'}://127.0.0.1:{port}/health"
    begin = said = time.monotonic()
    while (now := time.monotonic()) - begin < READY_SECONDS and program.running:
        try:
            with urllib.request.urlopen(url, timeout=2, context=context) as answer:  # noqa: S310
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
        if now - said >= SAY_SECONDS:
            said = now
            say(f"Flower's SuperLink is still starting, for {now - begin:.0f} s; waiting for it")
    raise StudyError(
        "Flower's SuperLink did not start", where=str(program.log), remedy="the log says why"
    )


_REMEDIES = {
    errno.EEXIST: "a file of that name is in the way: give another folder, or move it",
    errno.ENOTDIR: "a file is in the way of a folder: give another folder, or move it",
    errno.EISDIR: "that is a folder: give a file",
    errno.ENOENT: "correct the path",
    errno.EACCES: "check the rights of the file and of its folder, or give another one",
    errno.EPERM: "check the rights of the file and of its folder, or give another one",
    errno.EROFS: "nothing can be written there: give another folder",
    errno.ENOSPC: "make room on that disk, or give a folder on another one",
    errno.EDQUOT: "make room on that disk, or give a folder on another one",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EMFILE: "allow more open files (ulimit -n)",
}


def run_program(commands: Callable[[], object]) -> None:
    """Run a program's commands; raise SystemExit with its exit code, after errors on screen.

    SIGTERM is handled like Ctrl-C, so that workers end and nothing is lost.
    """
    interrupt_when_terminated()
    try:
        commands()
    except StudyError as error:
        _end(error)
    except OSError as error:
        _end(in_words(error))
    finally:
        # Python looks through all objects before it ends, which takes two seconds with torch
        gc.freeze()


def end_with_this_thread(program: Callable[[], None]) -> NoReturn:
    """Run a program of Flower, and end the process when it returns or fails.

    Where Flower gives its connection up, its other threads would keep the process alive, and
    nobody would start it again. Nothing of the caller runs after it, such as the loop of a fork.
    """
    code = 1
    try:
        program()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except KeyboardInterrupt:
        code = 130
    except BaseException as error:
        logging.getLogger("fedlnm.site").error("Flower gave up: %s", type(error).__name__)
        traceback.print_exc()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def in_words(error: OSError) -> StudyError:
    """Turn a refusal of the operating system into an error with the file and a remedy."""
    what = error.strerror or str(error) or type(error).__name__
    files = [str(name) for name in (error.filename, error.filename2) if name is not None]
    remedy = _REMEDIES.get(error.errno or 0, "check the file, its folder and the disk")
    if not files:
        what = f"{type(error).__name__}: {what}"
        remedy = "the operating system refused it; try again"
    return StudyError(what, where=" -> ".join(files), remedy=remedy)


def _end(error: StudyError) -> None:
    _, screen = consoles()
    screen.error(error)
    raise SystemExit(error.exit_code) from None


WAIT_SECONDS, _PAUSE = 5.0, 0.01
"""Time for which somebody else may have the file: whoever looks has it for an instant."""


@contextmanager
def holding(path: Path) -> Iterator[None]:
    """Hold a file while the block lasts; the system lets it go however this program ends.

    A file that another program holds for long stays with that one.
    """
    with path.open("a") as file:
        deadline = time.monotonic() + WAIT_SECONDS
        while not _taken(file.fileno(), fcntl.LOCK_EX) and time.monotonic() < deadline:
            time.sleep(_PAUSE)
        yield


def is_held(path: Path) -> bool:
    """Tell if a program holds a file; False before there is one."""
    if not path.is_file():
        return False
    with path.open("a") as file:
        return not _taken(file.fileno(), fcntl.LOCK_SH)


def _taken(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
