"""How every program ends: 0 done, 1 a finding or refusal, 2 wrong usage, and never in a traceback.

What the operating system refuses (a folder that cannot be written, a file in the way of one) is
something that people can act on, whichever command meets it.
"""

from __future__ import annotations

import errno
import gc
from collections.abc import Callable

from common.errors import StudyError
from common.utils.console import consoles
from common.utils.processes import interrupt_when_terminated

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
    """Run a program's commands to their end; SystemExit with its exit code and words on screen.

    A request to end (SIGTERM) does what Ctrl-C does, so that workers end and nothing is lost.
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


def in_words(error: OSError) -> StudyError:
    """What the operating system refused, with the file and what to do."""
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
