"""Versions of the software that a site computes with."""

from __future__ import annotations

from common.utils.versions import installed

SOFTWARE = ("fedlnm", "flwr", "torch", "monai", "numpy", "scipy", "scikit-learn", "SimpleITK")


def software() -> dict[str, str]:
    """Return the versions that decide whether two sites compute the same."""
    return installed(*SOFTWARE, "pyradiomics-bhklab")
