"""Random radiomics cohort: correlated, heavy-tailed, of very different scales.

It contains the numerical difficulties of real radiomics on purpose: blocks of columns that nearly
repeat each other, log-normal columns, scales from 1e-6 to 1e9, constant columns, columns of few
values, scanner shifts between sites, repeat readings at two sites only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from common.statistics.base import Float, Int

READINGS = ("r1_repeat", "r2", "r2_repeat")
FILTERS = ("original", "wavelet-LLH", "square", "exponential", "lbp-3D-k", "gradient")
GLOBAL_FACTORS = 12
BLOCK = 8.0  # mean size


@dataclass(frozen=True)
class Plan:
    """Numbers of patients by site, and of features.

    `train` and `test` hold patients by site; `single` is the size of a test set at one site;
    `twice` the patients read again, by site; `timed` is True if it is large enough to be timed.
    """

    train: tuple[int, ...]
    test: tuple[int, ...]
    single: int
    twice: tuple[int, ...]
    features: int
    timed: bool = False

    @property
    def rows(self) -> int:
        """Number of patients."""
        return sum(self.train) + sum(self.test) + self.single


FULL = Plan(
    train=(36, 114, 90, 60),
    test=(60, 90, 84, 66),
    single=120,
    twice=(0, 25, 0, 15),
    features=1834,
    timed=True,
)
SMALL = replace(FULL, features=480, timed=False)


@dataclass(frozen=True)
class SyntheticCohort:
    """All patients, one row each; `readings` by name, NaN rows where a patient was read once.

    `site` is the index of the site, `split` the name of the subset, `clinical` the cells of
    cohort.csv by column as numbers or level indices. `period` is that in which the follow-up ended,
    None where the endpoint has no time.
    """

    site: Int
    split: NDArray[np.str_]
    label: Int
    names: tuple[str, ...]
    readings: dict[str, Float]
    clinical: dict[str, Float]
    period: Int | None = None


def generate(plan: Plan, seed: int) -> SyntheticCohort:
    """Return the cohort of a plan; another seed gives other patients."""
    rng = np.random.default_rng(seed)
    site, split = _roster(plan)
    factors = rng.normal(size=(plan.rows, GLOBAL_FACTORS))
    signal = factors[:, :4] @ np.array([0.9, -0.7, 0.6, 0.5]) - 0.4
    label = (rng.random(plan.rows) < 1.0 / (1.0 + np.exp(-signal))).astype(np.int64)
    latent = _latent(factors, site, plan.features, rng)
    shape = _Shape.draw(plan.features, rng)
    readings = {"r1": shape.apply(latent)}
    again = _read_again(plan, site, split)
    quality = rng.gamma(2.0, 0.22, plan.features)
    own = latent + rng.normal(size=latent.shape) * quality * 0.7
    other = latent + rng.normal(size=latent.shape) * quality + 0.2 * rng.normal(size=latent.shape)
    third = other + rng.normal(size=latent.shape) * quality * 0.7
    for name, values in zip(READINGS, (own, other, third), strict=True):
        readings[name] = np.where(again[:, None], shape.apply(values), np.nan)
    names = tuple(
        f"{FILTERS[int(k)]}_texture_{i:04d}"
        for i, k in enumerate(rng.integers(0, len(FILTERS), plan.features))
    )
    clinical = _clinical(factors, label, site, rng)
    return SyntheticCohort(site, split, label, names, readings, clinical)


def _roster(plan: Plan) -> tuple[Int, NDArray[np.str_]]:
    sites: list[int] = []
    splits: list[str] = []
    for index, (train, test) in enumerate(zip(plan.train, plan.test, strict=True)):
        single = plan.single if index == len(plan.train) - 1 else 0
        sites += [index] * (train + test + single)
        splits += ["train"] * train + ["internal_test"] * test + ["external_test"] * single
    return np.array(sites, dtype=np.int64), np.array(splits, dtype=np.str_)


def _read_again(plan: Plan, site: Int, split: NDArray[np.str_]) -> NDArray[np.bool_]:
    again = np.zeros(site.size, dtype=np.bool_)
    for index, count in enumerate(plan.twice):
        again[np.flatnonzero((site == index) & (split == "train"))[:count]] = True
    return again


def _latent(factors: Float, site: Int, features: int, rng: np.random.Generator) -> Float:
    """Draw columns in blocks: a block follows a mix of the factors, its columns follow the block.

    The scanner shifts a block as a whole, and every column of it a little on its own.
    """
    rows, sites = factors.shape[0], int(site.max()) + 1
    latent = np.empty((rows, features))
    start = 0
    while start < features:
        stop = min(start + int(rng.geometric(1.0 / BLOCK)), features)
        mix = rng.normal(size=factors.shape[1]) * (rng.random(factors.shape[1]) < 0.3)
        strength = rng.uniform(0.2, 0.9)
        common = factors @ mix / max(float(np.linalg.norm(mix)), 1e-9)
        block = strength * common + np.sqrt(1.0 - strength**2) * rng.normal(size=rows)
        block += 0.4 * rng.normal(size=sites)[site]
        loading = 1.0 - 0.2 * rng.beta(1.0, 4.0, stop - start)
        noise = rng.normal(size=(rows, stop - start))
        noise += 0.4 * rng.normal(size=(sites, stop - start))[site]
        latent[:, start:stop] = block[:, None] * loading + noise * np.sqrt(1.0 - loading**2)
        start = stop
    return latent[:, rng.permutation(features)]


@dataclass(frozen=True)
class _Shape:
    """Conversion of a latent normal value to a feature: tail, steps, scale and offset."""

    tail: Float
    steps: Float
    scale: Float
    offset: Float
    constant: NDArray[np.bool_]

    @staticmethod
    def draw(features: int, rng: np.random.Generator) -> _Shape:
        heavy, stepped = rng.random(features) < 0.4, rng.random(features) < 0.05
        return _Shape(
            tail=np.where(heavy, rng.uniform(0.4, 1.5, features), 0.0),
            steps=np.where(stepped, rng.integers(2, 8, features), 0).astype(np.float64),
            scale=10.0 ** rng.uniform(-6.0, 9.0, features),
            offset=rng.normal(size=features) * np.where(rng.random(features) < 0.2, 1e3, 1.0),
            constant=rng.random(features) < 0.01,
        )

    def apply(self, latent: Float) -> Float:
        """Return features (n, p) of latent values (n, p)."""
        heavy = np.expm1(self.tail * latent) / np.where(self.tail > 0, self.tail, 1.0)
        values = np.where(self.tail > 0, heavy, latent)
        per_unit = np.where(self.steps > 0, self.steps, 1.0)
        values = np.where(self.steps > 0, np.floor(values * per_unit) / per_unit, values)
        values = np.where(self.constant, 0.0, values)
        return np.asarray(self.scale * (values + self.offset), dtype=np.float64)


def _clinical(factors: Float, label: Int, site: Int, rng: np.random.Generator) -> dict[str, Float]:
    """Draw whole years, a laboratory value with gaps, and categories."""
    rows = label.size
    marker = np.exp(0.6 * factors[:, 0] + 0.3 * label + rng.normal(size=rows) * 0.5)
    marker = np.round(marker, 1)
    marker[rng.random(rows) < 0.1] = np.nan
    return {
        "age": np.rint(rng.normal(62.0, 8.0, rows) + 2.0 * label),
        "marker": marker,
        "sex": (rng.random(rows) < 0.75).astype(np.float64),
        "stage": np.clip(np.rint(1.2 + 0.8 * factors[:, 1] + rng.normal(size=rows)), 0, 3),
        "region": rng.choice(3, rows, p=[0.55, 0.4, 0.05]).astype(np.float64) * (site != 0),
    }
