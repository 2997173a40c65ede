"""Privacy loss of a run's private training at a site, in epsilon.

Abadi et al. 2016, "Deep learning with differential privacy"; Mironov 2017, "Rényi differential
privacy" (proposition 1: Rényi divergences add up); Mironov, Talwar, Zhang 2019, "Rényi differential
privacy of the sampled Gaussian mechanism" (section 3.3). The conversion to epsilon is that of Balle
et al. 2020, "Hypothesis testing interpretations and Rényi differential privacy" (theorem 21).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from common.study.networks import NetworkSettings


@dataclass(frozen=True)
class Spending:
    """The private training behind one reply.

    Parameters
    ----------
    noise_multiplier : SD of the noise over the largest norm of a patient's gradient.
    sample_rate : probability with which a patient is drawn in a step.
    steps : of the optimiser.
    membership : digest of the site's training patients; empty = unknown, of an earlier release.

    Raises
    ------
    ValueError : numbers that no training has.
    """

    network: str
    variant: str
    noise_multiplier: float
    sample_rate: float
    steps: int
    membership: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.noise_multiplier < math.inf:
            raise ValueError(f"noise multiplier {self.noise_multiplier} is not 0 or more")
        if not 0 < self.sample_rate <= 1:
            raise ValueError(f"sample rate {self.sample_rate} is not within (0, 1]")
        if self.steps < 0:
            raise ValueError(f"{self.steps} steps are fewer than none")


def poisson(patients: int, settings: NetworkSettings, epochs: int) -> tuple[float, int]:
    """Return the probability of drawing a patient in a step, and the steps of one round.

    Parameters
    ----------
    patients : that the round trains on, at least one.
    epochs : passes, ceil(patients / batch_size) steps each, unless `local_steps` sets the steps.
    """
    an_epoch = -(-patients // settings.batch_size)
    rate = min(settings.batch_size, patients) / patients
    return rate, settings.local_steps or epochs * an_epoch


def epsilon_of(spendings: Iterable[Spending], delta: float) -> float:
    """Return the epsilon at `delta` of all of them together, by the Rényi accountant of Opacus.

    An upper bound on what all replies of a run reveal of any one patient. All variants of both
    networks are added up, as if every patient were in the training of each; a patient is left out
    of the variant of its own fold, so that for each it is less.

    Two cohorts are neighbours when one of them has one patient more. The Rényi accountant is chosen
    before the tighter PRV one, as its bound holds without numerical error to allow for. It is
    infinite when a training was without noise, and 0 when there was none.

    Raises
    ------
    ValueError : `delta` is not between 0 and 1.
    """
    if not 0 < delta < 1:
        raise ValueError(f"delta {delta} is not between 0 and 1")
    steps: Counter[tuple[float, float]] = Counter()
    for spending in spendings:
        if spending.steps:
            steps[spending.noise_multiplier, spending.sample_rate] += spending.steps
    if not steps:
        return 0.0
    if any(noise == 0 for noise, _ in steps):
        return math.inf
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    accountant.history = [(noise, rate, count) for (noise, rate), count in steps.items()]
    return float(accountant.get_epsilon(delta))
