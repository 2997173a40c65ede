"""Flower app of this release as one file (FAB), which holds two files and no code.

Flower loads `server.app:app` and `client.app:app` from the installed release. Coordinator and
hospitals make the same bytes of the version that each has installed, so nobody sends an app to
anybody, and a hospital's gate compares digests instead of looking into a file of the coordinator.
The version in it has two numbers: releases that differ in the third one work together.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from io import BytesIO

from common.errors import StudyError
from common.utils.versions import minor_release

FLOWER = "1.41.0"
"""The release of Flower that this project is written for."""

NAME = "fedlnm"
CONFIG, LICENSE, CONTENT = "pyproject.toml", "LICENSE", ".info/CONTENT"
_DATE = (2024, 10, 1, 0, 0, 0)
_UNIX = 3

_CONFIG_TEXT = """\
[project]
name = "{name}"
version = "{version}"
license = {{ file = "LICENSE" }}
dependencies = ["flwr>={flower}"]

[tool.flwr.app]
publisher = "fedlnm"
fab-format-version = 1
flwr-version-target = "{flower}"

[tool.flwr.app.components]
serverapp = "server.app:app"
clientapp = "client.app:app"

[tool.flwr.app.config]
study = ""
out = ""
label = "federated"
run-name = ""
engine = "flower"
report = "yes"
identity = ""
site-configs = ""
"""
_LICENSE_TEXT = "This app holds no code. The licence of fedlnm applies.\n"


@dataclass(frozen=True)
class FlowerApp:
    """App of a release."""

    version: str

    @property
    def identifier(self) -> str:
        """Publisher and name, as Flower writes them."""
        return f"{NAME}/{NAME}"

    @property
    def files(self) -> dict[str, bytes]:
        """Bytes by name, without Flower's list of them."""
        config = _CONFIG_TEXT.format(name=NAME, version=self.version, flower=FLOWER)
        return {CONFIG: config.encode(), LICENSE: _LICENSE_TEXT.encode()}

    @cached_property
    def content(self) -> bytes:
        """Bytes of the FAB. Nothing is compressed: other machines have other libraries for that."""
        files = self.files
        lines = [f"{n},{hashlib.sha256(b).hexdigest()},{8 * len(b)}" for n, b in files.items()]
        files[CONTENT] = "\n".join(lines).encode()
        buffer = BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            for name, data in files.items():
                entry = zipfile.ZipInfo(name, _DATE)
                entry.create_system = _UNIX
                archive.writestr(entry, data)
        return buffer.getvalue()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the FAB, hexadecimal: the name under which Flower keeps it."""
        return hashlib.sha256(self.content).hexdigest()


def installed_app() -> FlowerApp:
    """Return the app of the release that is installed here.

    Raises
    ------
    StudyError : none is installed as a package.
    """
    try:
        return FlowerApp(minor_release(metadata.version(NAME)))
    except metadata.PackageNotFoundError:
        raise StudyError(
            f"{NAME} is not installed as a package, so its version is not known",
            where="installation",
            remedy="install the release with make setup, or with pip",
        ) from None
