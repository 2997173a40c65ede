"""What a run's private training has cost the patients of a site so far, in epsilon.

Abadi et al. 2016, "Deep learning with differential privacy"; Mironov 2017, "Rényi differential
privacy" (proposition 1: Rényi divergences add up); Mironov, Talwar, Zhang 2019, "Rényi differential
privacy of the sampled Gaussian mechanism" (section 3.3). The conversion to epsilon is that of Balle
et al. 2020, "Hypothesis testing interpretations and Rényi differential privacy" (theorem 21).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from common.errors import StudyError
from common.utils.durable import alone, append_durably, sync_folder

FILE = "privacy-budget.jsonl"


@dataclass(frozen=True)
class Spending:
    """One reply's training.

    Parameters
    ----------
    noise_multiplier : SD of the noise over the largest norm of a patient's gradient.
    sample_rate : probability with which a patient is drawn in a step.
    steps : of the optimiser.

    Raises
    ------
    ValueError : numbers that no training has.
    """

    network: str
    variant: str
    noise_multiplier: float
    sample_rate: float
    steps: int

    def __post_init__(self) -> None:
        if not 0 <= self.noise_multiplier < math.inf:
            raise ValueError(f"noise multiplier {self.noise_multiplier} is not 0 or more")
        if not 0 < self.sample_rate <= 1:
            raise ValueError(f"sample rate {self.sample_rate} is not within (0, 1]")
        if self.steps < 0:
            raise ValueError(f"{self.steps} steps are fewer than none")


class PrivacyBudget:
    """The releases of one run of a site, over all its processes; a line each in a file.

    Parameters
    ----------
    folder : the run's folder at this site.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / FILE

    def spend(
        self, network: str, variant: str, noise_multiplier: float, sample_rate: float, steps: int
    ) -> None:
        """Write a training down; only when this returns may its reply leave.

        A reply that was lost on its way and is trained again counts twice, as both may be known.

        Raises
        ------
        ValueError : numbers that no training has.
        """
        spending = Spending(network, variant, noise_multiplier, sample_rate, steps)
        line = json.dumps(asdict(spending), allow_nan=False) + "\n"
        with alone(self._folder / "privacy-budget.lock"):
            self._drop_torn_end()
            append_durably(self._path, line.encode())
            sync_folder(self._folder)

    def spendings(self) -> tuple[Spending, ...]:
        """All that was written down, in order.

        Raises
        ------
        StudyError : a line is damaged: what it said is unknown, and must not count as nothing.
        """
        with alone(self._folder / "privacy-budget.lock"):
            content = self._path.read_bytes() if self._path.is_file() else b""
        *lines, _torn = content.split(b"\n")
        return tuple(self._read(number, line) for number, line in enumerate(lines, start=1))

    def epsilon(self, delta: float) -> float:
        """An upper bound on what all replies of this run tell of any one patient; see `epsilon_of`.

        All variants of both networks are added up, as if every patient were in the training of
        each. A patient is left out of the variant of its own fold, so that for each it is less.

        Raises
        ------
        StudyError : a damaged line.
        """
        return epsilon_of(self.spendings(), delta)

    def _read(self, number: int, line: bytes) -> Spending:
        try:
            return Spending(**json.loads(line))
        except (ValueError, TypeError):
            raise StudyError(
                f"line {number} is damaged, so that nobody can tell what was spent",
                where=str(self._path),
                remedy="bring the file back from a backup, or begin another run",
            ) from None

    def _drop_torn_end(self) -> None:
        """Of a line that a crash cut short: its reply never left."""
        if not self._path.is_file():
            return
        with self._path.open("r+b") as file:
            file.truncate(file.read().rfind(b"\n") + 1)


def epsilon_of(spendings: Iterable[Spending], delta: float) -> float:
    """Epsilon at `delta` of all of them together, by the Rényi accountant of Opacus.

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
