"""The one family of exceptions: every message says what is wrong, where, and what to do."""

from __future__ import annotations


class StudyError(Exception):
    """Something the person at the keyboard can put right.

    Parameters
    ----------
    what : the problem, in words.
    where : file, row, column, site or study key.
    remedy : what to do about it.
    """

    exit_code: int = 1

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = what, where, remedy
        place = f"{where}: " if where else ""
        advice = f" -> {remedy}" if remedy else ""
        super().__init__(f"{place}{what}{advice}")


class InputError(StudyError):
    """A file that a person wrote (study, site, cohort) or an image is not as required."""


class UsageError(StudyError):
    """The command was called in a way that cannot work."""

    exit_code = 2


class SiteError(StudyError):
    """A site did not answer, or answered that it cannot go on."""


class ImplausibleError(StudyError):
    """A total over sites cannot be true: at least one site sent a part that is not."""


class RefusedError(StudyError):
    """A disclosure rule of a site refused a release and the study cannot go on without it."""


class SignatureError(StudyError):
    """A signature does not hold, or a key is not the one that the approved roster calls for."""
