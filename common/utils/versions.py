"""Versions of installed packages."""

from __future__ import annotations

import platform
from functools import cache
from importlib import metadata

PACKAGE = "fedlnm"


def installed(*packages: str) -> dict[str, str]:
    """Return Python's version and that of each package; "not installed" for one that is missing.

    >>> sorted(installed("no-such-package"))
    ['no-such-package', 'python']
    """
    return {"python": platform.python_version()} | {name: _version(name) for name in packages}


def minor_release(version: str) -> str:
    """Return the first two numbers of a version: releases that share them work together.

    >>> minor_release("0.1.3"), minor_release("2.10")
    ('0.1', '2.10')
    """
    return ".".join(version.split(".")[:2])


@cache
def _version(package: str) -> str:
    """Return the version; it is read from files, and asked for at every enrolment."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


SOFTWARE = ("fedlnm", "flwr", "torch", "monai", "numpy", "scipy", "scikit-learn", "SimpleITK")


def software() -> dict[str, str]:
    """Return the versions that decide whether two sites compute the same."""
    return installed(*SOFTWARE, "pyradiomics-bhklab")
