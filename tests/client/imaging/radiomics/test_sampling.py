"""Samples against `scipy.ndimage.map_coordinates`."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import map_coordinates

from client.imaging.radiomics.lbp import sample, sampler, sphere

SHAPE = (11, 13, 17)


def test_samples_are_those_of_map_coordinates():
    image, roi = np.random.default_rng(0).normal(40, 90, SHAPE), np.ones(SHAPE, dtype=bool)
    image = image.astype(np.float32)
    around = sphere()
    prepared = sampler(image, around.vertices)
    places = np.flatnonzero(roi)
    samples = sample(prepared, places, image).T
    at = np.array(np.nonzero(roi))[:, :, None] + around.vertices.T[:, None, :]
    np.testing.assert_array_equal(samples, map_coordinates(image, at, order=3))
