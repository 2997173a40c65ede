"""Compile every loop once during setup, so that the first patient does not wait.

Processes that start side by side would each compile for half a minute.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by

from client.imaging.radiomics.extraction import extract_roi

SMALL, LARGE = 5, 20
"""Radii in voxels: ROIs of many voxels go through loops of their own."""


def ball(radius: int) -> tuple[sitk.Image, sitk.Image]:
    """Return noise and the mask of a ball in it, at 0.9 mm so that both are resampled.

    >>> image, mask = ball(5)
    >>> image.GetSize()
    (16, 16, 16)
    """
    side = 2 * radius + 6
    values = np.random.default_rng(0).normal(50, 20, (side,) * 3).astype(np.float32)
    z, y, x = np.indices(values.shape) - (side - 1) / 2
    mask = sitk.GetImageFromArray((z**2 + y**2 + x**2 < radius**2).astype(np.uint8))
    image = sitk.GetImageFromArray(values)
    for one in (image, mask):
        one.SetSpacing((0.9, 0.9, 0.9))
    return image, mask


def compile_loops() -> None:
    """Extract the 1834 features of two balls; loops compiled before are loaded from disk."""
    for radius in (SMALL, LARGE):
        extract_roi(*ball(radius), "radiomics-1834", 1834)


if __name__ == "__main__":
    compile_loops()
