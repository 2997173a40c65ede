"""Latent aggressiveness of phantom patients, and the clinical columns that it drives."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from sim.phantom.plan import CaseMix, HospitalPlan, PhantomPlan

_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0

# Counts of Table 1 of the paper by study set; T stages of the internal set are not used.
LEVELS: dict[str, tuple[str, ...]] = {
    "sex": ("female", "male"),
    "primary_site": ("glottic", "supraglottic"),
    "t_stage": ("T1", "T2", "T3", "T4"),
    "differentiation": ("well", "moderate", "poor_or_undifferentiated"),
    "space_invasion": ("none", "yes"),
    "cartilage_invasion": ("none", "yes"),
    "enhancement": ("homogeneous", "inhomogeneous"),
}
COUNTS: dict[CaseMix, dict[str, tuple[int, ...]]] = {
    "training": {
        "sex": (11, 289),
        "primary_site": (44, 256),
        "t_stage": (96, 117, 67, 20),
        "differentiation": (84, 179, 37),
        "space_invasion": (259, 41),
        "cartilage_invasion": (292, 8),
        "enhancement": (231, 69),
    },
    "external1": {
        "sex": (1, 119),
        "primary_site": (36, 84),
        "t_stage": (33, 52, 29, 6),
        "differentiation": (36, 61, 23),
        "space_invasion": (96, 24),
        "cartilage_invasion": (108, 12),
        "enhancement": (90, 30),
    },
    "external2": {
        "sex": (4, 40),
        "primary_site": (17, 27),
        "t_stage": (2, 6, 15, 21),
        "differentiation": (7, 28, 9),
        "space_invasion": (37, 7),
        "cartilage_invasion": (42, 2),
        "enhancement": (32, 12),
    },
}
COLUMNS = (
    "age",
    "sex",
    "primary_site",
    "t_stage",
    "differentiation",
    "space_invasion",
    "cartilage_invasion",
    "max_diameter_cm",
    "enhancement",
)
# Correlation of a column with the latent, as a share of the plan's clinical fidelity.
_STRENGTH = {
    "sex": 0.0,
    "primary_site": 0.8,
    "t_stage": 1.0,
    "differentiation": 0.7,
    "space_invasion": 0.7,
    "cartilage_invasion": 0.5,
    "enhancement": 0.5,
}
# Weight of the necrosis that the image shows in the column `enhancement`.
_SEEN = 0.3


@dataclass(frozen=True)
class Latent:
    """Hidden state of a patient.

    Parameters
    ----------
    label : 0 or 1.
    aggressiveness : normal with SD 1 in each class, means half the plan's separation apart from 0.
    standardised : the same with mean 0 and SD 1 over the hospital's patients.
    """

    label: int
    aggressiveness: float
    standardised: float


def generator_of(seed: int, hospital: str, index: int, purpose: str) -> np.random.Generator:
    """Return the generator of one patient and purpose alone."""
    text = f"phantom/{seed}/{hospital}/{index}/{purpose}"
    digest = hashlib.sha256(text.encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def latent_of(seed: int, plan: PhantomPlan, hospital: HospitalPlan, index: int) -> Latent:
    """Return the latent of a patient, from seed, hospital and index alone.

    Labels are dealt so that every stretch of patients has the hospital's share of positives, and
    within a class the latent's quantiles are dealt by the golden-ratio sequence from a random
    start, so that a small test set has a Bayes AUC near the theoretical one.
    """
    share = hospital.positive_share
    positives = math.floor((index + 1) * share)
    label = positives - math.floor(index * share)
    position = positives if label else index - positives
    start = generator_of(seed, hospital.name, label, "quantiles").random()
    quantile = (start + position * _GOLDEN) % 1.0
    centre = plan.separation * (label - 0.5)
    aggressiveness = centre + float(norm.ppf(min(max(quantile, 1e-3), 1.0 - 1e-3)))
    mean = plan.separation * (share - 0.5)
    deviation = math.sqrt(1.0 + plan.separation**2 * share * (1.0 - share))
    return Latent(label, aggressiveness, (aggressiveness - mean) / deviation)


def trait(rng: np.random.Generator, latent: Latent, fidelity: float) -> float:
    """Draw a standard normal trait with this correlation with the standardised latent."""
    own = float(rng.standard_normal())
    return fidelity * latent.standardised + math.sqrt(1.0 - fidelity**2) * own


def clinical_row(
    seed: int,
    plan: PhantomPlan,
    hospital: HospitalPlan,
    index: int,
    *,
    diameter_cm: float,
    necrosis: float,
) -> dict[str, str]:
    """Return the cells of the clinical columns; an empty string is a missing value.

    Parameters
    ----------
    diameter_cm : largest diameter of the tumour.
    necrosis : standard normal trait that the image shows; a share of `enhancement`.
    """
    rng = generator_of(seed, hospital.name, index, "clinical")
    latent = latent_of(seed, plan, hospital, index)
    row = {
        "age": f"{float(np.clip(rng.normal(61.0, 9.0), 35.0, 88.0)):.0f}",
        "max_diameter_cm": f"{diameter_cm:.1f}",
    }
    for column, levels in LEVELS.items():
        value = trait(rng, latent, plan.clinical_fidelity * _STRENGTH[column])
        if column == "enhancement":
            value = math.sqrt(1.0 - _SEEN**2) * value + _SEEN * necrosis
        row[column] = levels[_level(value, COUNTS[hospital.case_mix][column])]
    missing = rng.random(len(COLUMNS)) < plan.missing_share
    return {
        column: "" if gone else row[column] for column, gone in zip(COLUMNS, missing, strict=True)
    }


def _level(value: float, counts: tuple[int, ...]) -> int:
    """Return the level of a standard normal value, with levels as frequent as in `counts`."""
    shares = np.cumsum(counts) / sum(counts)
    return int(np.searchsorted(norm.ppf(shares[:-1]), value))


def bayes_auc(label: NDArray[np.int64], aggressiveness: NDArray[np.float64]) -> float | None:
    """Return the AUC of the latent, the ceiling of any model; None for a single class."""
    if len(set(label.tolist())) < 2:
        return None
    positive, negative = aggressiveness[label == 1], aggressiveness[label == 0]
    return float((positive[:, None] > negative[None, :]).mean())
