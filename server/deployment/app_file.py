"""The app that runs at the hospitals, as one file (FAB): the same release gives the same bytes."""

from __future__ import annotations

from pathlib import Path

import server
from common.errors import StudyError


def build_app() -> bytes:
    """The FAB of this release.

    Raises
    ------
    StudyError : not run from a checkout of the project.
    """
    from flwr.cli.build import build_fab_from_disk

    root = Path(server.__file__).resolve().parent.parent
    if not (root / "pyproject.toml").is_file():
        raise StudyError(
            "the app is built from the project's folder, which is not here",
            where=str(root),
            remedy="install the project from a checkout, with pip install -e or make",
        )
    app: bytes = build_fab_from_disk(root)
    return app
