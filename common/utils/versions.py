"""Versions of installed packages."""

from __future__ import annotations

import platform
from importlib import metadata


def installed(*packages: str) -> dict[str, str]:
    """Return Python's version and that of each package; "not installed" for one that is missing.

    >>> sorted(installed("no-such-package"))
    ['no-such-package', 'python']
    """
    versions = {"python": platform.python_version()}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions
