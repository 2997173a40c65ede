"""Codes of a site's errors: all that another party learns of one.

The class of an exception can depend on a patient's value, as its text can, so a few codes stand for
all of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from common.errors import SignatureError, StudyError

PROBLEMS: Mapping[str, str] = {
    "data": "the site's files or settings are not as the study needs them",
    "keys": "a signature does not hold, or is of another key",
    "memory": "the site's machine has too little memory",
    "files": "a file cannot be read or written",
    "software": "an error that the software did not expect",
}
MACHINE = frozenset({"memory", "files"})
"""Problems of the machine, which tell nothing of the numbers."""


def problem_code(error: BaseException) -> str:
    """Return the code of an error; one with a `kind` of its own has this.

    Examples
    --------
    >>> problem_code(StudyError("no such file")), problem_code(KeyError("P-01"))
    ('data', 'software')
    """
    own = getattr(error, "kind", None)
    if isinstance(error, StudyError) and isinstance(own, str):
        return own
    names = {one.__name__ for one in type(error).__mro__}
    if isinstance(error, MemoryError) or "OutOfMemoryError" in names:  # the latter is torch's
        return "memory"
    if isinstance(error, OSError):
        return "files"
    if isinstance(error, SignatureError):
        return "keys"
    return "data" if isinstance(error, StudyError) else "software"
