"""The app of the hospitals as one file (FAB): the same release gives the same bytes."""

from __future__ import annotations

from pathlib import Path

import common
from common.errors import StudyError

RELEASE = Path(common.__file__).resolve().parent.parent
PACKAGES = ("client", "common", "server", "strategies", "sim")
# parts of the project's folder that Flower reads beside the packages; `fab-include` names no more
_BESIDE = ("pyproject.toml", "LICENSE", ".gitignore")


def build_app(release: Path = RELEASE) -> bytes:
    """Build the FAB of a release as `flwr build` does.

    Parameters
    ----------
    release : the project's folder. Only the app's own parts of it are read: other content, such as
        the libraries, would take Flower long and is no part of the app.

    Raises
    ------
    StudyError : not a checkout of the project, or Flower cannot make an app of it.
    """
    from flwr.cli.build import build_fab_from_files
    from flwr.cli.utils import collect_files

    if not (release / "pyproject.toml").is_file():
        raise StudyError(
            "the app is built from the project's folder, which is not here",
            where=str(release),
            remedy="install the project from a checkout, with pip install -e or make",
        )
    files = {name: release / name for name in _BESIDE if (release / name).is_file()}
    for package in PACKAGES:
        for name, path in collect_files(release / package).items():
            files[f"{package}/{name}"] = path
    try:
        app: bytes = build_fab_from_files(files)[0]
    except ValueError as error:
        raise StudyError(
            f"Flower cannot make an app of it: {error}",
            where=str(release),
            remedy="install the release anew",
        ) from None
    return app
