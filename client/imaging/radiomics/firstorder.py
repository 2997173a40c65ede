"""First-order features: each mean, deviation and order statistic worked out once."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from radiomics.firstorder import RadiomicsFirstOrder

from client.imaging.radiomics.prepared import Prepared, Seen

Doubles = NDArray[np.float64]

FEW = 2_000

PERCENTILES = (10, 25, 50, 75, 90)


class FirstOrder(Prepared, RadiomicsFirstOrder):  # type: ignore[misc]  # PyRadiomics has no types
    """PyRadiomics' class on the ROI's values.

    It asks numpy's functions for arrays with missing values for everything, several times; here
    nothing is missing, and what two features need is kept. Sums are taken over the same values in
    the same order.
    """

    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self.pixelSpacing = seen.spacing
        self.voxelArrayShift = seen.settings.get("voxelArrayShift", 0)
        self.targetVoxelArray = seen.values.astype(np.float64).reshape((1, -1))

    def _initCalculation(self, voxelCoordinates: None = None) -> None:
        counts = self.seen.texture.levels.counts.reshape((1, -1))
        self.coefficients["p_i"] = counts / np.sum(counts, 1, keepdims=True).astype(np.float64)

    @cached_property
    def _percentiles(self) -> dict[int, float]:
        return percentiles(self.targetVoxelArray[0])

    @cached_property
    def _mean(self) -> Doubles:
        return self._average(self.targetVoxelArray)

    @cached_property
    def _deviations(self) -> Doubles:
        deviations: Doubles = self.targetVoxelArray - self._mean[:, None]
        return deviations

    @cached_property
    def _second_moment(self) -> Doubles:
        return self._average(power(self._deviations, 2))

    @cached_property
    def _shifted_energy(self) -> Doubles:
        energy: Doubles = np.sum((self.targetVoxelArray + self.voxelArrayShift) ** 2, 1)
        return energy

    def _average(self, values: Doubles) -> Doubles:
        total: Doubles = np.sum(values, 1)
        return total / self.targetVoxelArray.shape[1]

    def getEnergyFeatureValue(self) -> Doubles:
        return self._shifted_energy

    def getRootMeanSquaredFeatureValue(self) -> Doubles:
        root: Doubles = np.sqrt(self._shifted_energy / self.targetVoxelArray.shape[1])
        return root

    def getMinimumFeatureValue(self) -> Doubles:
        smallest: Doubles = np.min(self.targetVoxelArray, 1)
        return smallest

    def getMaximumFeatureValue(self) -> Doubles:
        largest: Doubles = np.max(self.targetVoxelArray, 1)
        return largest

    def getRangeFeatureValue(self) -> Doubles:
        return self.getMaximumFeatureValue() - self.getMinimumFeatureValue()

    def get10PercentileFeatureValue(self) -> Doubles:
        return np.array([self._percentiles[10]])

    def get90PercentileFeatureValue(self) -> Doubles:
        return np.array([self._percentiles[90]])

    def getInterquartileRangeFeatureValue(self) -> Doubles:
        return np.array([self._percentiles[75] - self._percentiles[25]])

    def getMedianFeatureValue(self) -> Doubles:
        return np.array([self._percentiles[50]])

    def getMeanFeatureValue(self) -> Doubles:
        return self._mean

    def getMeanAbsoluteDeviationFeatureValue(self) -> Doubles:
        return self._average(np.absolute(self._deviations))

    def getRobustMeanAbsoluteDeviationFeatureValue(self) -> Doubles:
        values = self.targetVoxelArray
        low, high = self._percentiles[10], self._percentiles[90]
        # x - p < 0 is x < p for all doubles: subtraction underflows gradually
        within = (values >= low) & (values <= high)
        count = np.count_nonzero(within)
        mean = np.sum(np.where(within, values, 0), 1) / count
        total: Doubles = np.sum(np.where(within, np.absolute(values - mean[:, None]), 0), 1)
        return total / count

    def getSkewnessFeatureValue(self) -> Doubles:
        m2, m3 = self._second_moment, self._average(power(self._deviations, 3))
        m2 = np.where(m2 == 0, 1, m2)
        return m3 / m2**1.5

    def getKurtosisFeatureValue(self) -> Doubles:
        m2, m4 = self._second_moment, self._average(power(self._deviations, 4))
        m2 = np.where(m2 == 0, 1, m2)
        return m4 / m2**2.0

    def getVarianceFeatureValue(self) -> Doubles:
        return np.sqrt(self._average(self._deviations * self._deviations)) ** 2


def power(values: Doubles, exponent: int) -> Doubles:
    """Return values to the power of 2, 3 or 4.

    Multiplying is many times faster than `numpy.power` and differs in the last bit. Where few
    values may cancel to nothing even that would show, and few are fast in any case.
    """
    if values.size <= FEW:
        return np.power(values, exponent)
    square = values * values
    if exponent == 2:
        return square
    return square * (values if exponent == 3 else square)


def percentiles(values: Doubles) -> dict[int, float]:
    """Return numpy's percentiles 10, 25, 75 and 90 and its median, by sorting once in part."""
    last = len(values) - 1
    places = {q: last * (q / 100) for q in PERCENTILES}
    middle = {len(values) // 2, last // 2}
    below = {q: int(np.floor(place)) for q, place in places.items()}
    wanted = middle | set(below.values()) | {min(k + 1, last) for k in below.values()}
    ordered = np.partition(values, sorted(wanted))
    found = {}
    for q, place in places.items():
        low, high = ordered[below[q]], ordered[min(below[q] + 1, last)]
        part, step = place - below[q], high - low
        found[q] = float(low + step * part if part < 0.5 else high - step * (1 - part))
    found[50] = float(np.mean(ordered[sorted(middle)]))
    return found
