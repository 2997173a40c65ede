"""Errors in the images of one patient."""

from __future__ import annotations

from common.errors import StudyError


class PatientError(StudyError):
    """Images of one patient cannot be used; the other patients are not affected.

    `where` is the name of the file without its folder, empty where a whole patient is meant.
    """
