"""Versions of what the coordinator computes with."""

from __future__ import annotations

import platform
from importlib import metadata

PACKAGES = ("fedlnm", "flwr", "torch", "monai", "numpy", "scipy", "scikit-learn", "skops")


def software_versions() -> dict[str, str]:
    """Version by package; "not installed" for what is missing."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions
