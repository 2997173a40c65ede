"""Plan of a phantom study: hospitals, their scanners and their case mix."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

CaseMix = Literal["training", "external1", "external2"]


@dataclass(frozen=True)
class Scanner:
    """Deviation of a hospital's CT from the truth.

    Parameters
    ----------
    pixel_mm, slice_mm : voxel spacing in plane and between slices.
    kernel_mm : SD of the Gaussian blur of the reconstruction kernel.
    noise_hu : SD of the noise.
    offset_hu : shift of all values, by calibration and usual contrast timing.
    phase_hu : SD of that shift between patients, whose contrast timing differs.
    dose_spread : SD of the logarithm of the noise between patients, whose dose differs.
    """

    pixel_mm: float
    slice_mm: float
    kernel_mm: float
    noise_hu: float
    offset_hu: float
    phase_hu: float = 10.0
    dose_spread: float = 0.3


@dataclass(frozen=True)
class HospitalPlan:
    """One hospital.

    Parameters
    ----------
    positive_share : share of patients with the endpoint.
    protocol_bias : correlation of a patient's contrast timing and dose with the latent, where
        suspicious cases are scanned differently: a shortcut that holds at one hospital and
        misleads at the next, so that only several hospitals together can unlearn it.
    repeat_readings : number of patients, from the first, that are contoured again.
    """

    name: str
    scanner: Scanner
    case_mix: CaseMix
    positive_share: float
    protocol_bias: float = 0.0
    train: int = 0
    internal_test: int = 0
    external_test: int = 0
    repeat_readings: int = 0

    @property
    def patients(self) -> int:
        """Number of patients over all splits."""
        return self.train + self.internal_test + self.external_test


@dataclass(frozen=True)
class PhantomPlan:
    """A phantom study.

    Parameters
    ----------
    external_sets : name of each external test set and its hospitals.
    separation : distance of the two classes' mean latent in SD; the Bayes AUC of the latent is
        the normal distribution function at separation / sqrt(2).
    radius_mm : smallest and largest mean radius of a tumour.
    image_fidelity : correlation of each image trait (roughness, texture, necrosis, enhancement)
        with the latent.
    size_fidelity : correlation of the radius with the latent.
    clinical_fidelity : correlation of each driven clinical trait with the latent.
    missing_share : share of the clinical cells left empty.
    rounds : federated rounds of both networks; None takes the preset's.
    """

    name: str
    hospitals: tuple[HospitalPlan, ...]
    external_sets: tuple[tuple[str, tuple[str, ...]], ...]
    separation: float = 1.9
    radius_mm: tuple[float, float] = (6.5, 12.0)
    image_fidelity: float = 0.9
    size_fidelity: float = 0.45
    clinical_fidelity: float = 0.38
    missing_share: float = 0.01
    rounds: int | None = None


def _trains(
    name: str, scanner: Scanner, share: float, bias: float, sets: tuple[int, int], again: int = 0
) -> HospitalPlan:
    """Return a hospital that trains, with its patients of training and internal test."""
    train, test = sets
    return HospitalPlan(name, scanner, "training", share, bias, train, test, repeat_readings=again)


def _tests(
    name: str, scanner: Scanner, case_mix: CaseMix, share: float, patients: int
) -> HospitalPlan:
    return HospitalPlan(name, scanner, case_mix, share, external_test=patients)


DEFAULT = PhantomPlan(
    name="phantom",
    hospitals=(
        _trains("north", Scanner(0.8, 1.5, 0.7, 8.0, 0.0), 0.42, 0.5, (40, 13), again=20),
        _trains("east", Scanner(0.7, 1.0, 0.8, 15.0, 9.0), 0.41, -0.5, (32, 11)),
        _trains("south", Scanner(0.9, 2.0, 0.6, 10.0, -8.0), 0.43, -0.5, (28, 9)),
        _trains("west", Scanner(1.0, 2.5, 0.7, 18.0, 4.0), 0.45, 0.5, (20, 7)),
        _tests("lakeside", Scanner(0.6, 1.5, 0.9, 11.0, -3.0), "external1", 0.36, 36),
        _tests("hillside", Scanner(0.9, 2.0, 0.7, 13.0, 7.0), "external1", 0.36, 24),
        _tests("riverside", Scanner(0.7, 2.5, 0.8, 14.0, 2.0), "external1", 0.36, 20),
        _tests("harbour", Scanner(0.8, 3.0, 0.8, 12.0, -6.0), "external2", 0.30, 60),
    ),
    # Three hospitals, so that the sums over external_1 can be masked.
    external_sets=(
        ("external_1", ("lakeside", "hillside", "riverside")),
        ("external_2", ("harbour",)),
    ),
)

SMALL = PhantomPlan(
    name="phantom-small",
    hospitals=(
        _trains("north", Scanner(1.0, 2.0, 0.7, 8.0, 0.0), 0.5, 0.5, (24, 6), again=10),
        _trains("east", Scanner(0.9, 2.0, 0.8, 15.0, 9.0), 0.5, -0.5, (22, 6)),
        _trains("south", Scanner(1.0, 2.5, 0.6, 10.0, -8.0), 0.5, -0.5, (20, 6)),
        _trains("west", Scanner(1.0, 3.0, 0.7, 18.0, 4.0), 0.5, 0.5, (20, 6)),
        _tests("lakeside", Scanner(0.8, 2.0, 0.9, 11.0, -3.0), "external1", 0.42, 12),
        _tests("harbour", Scanner(1.0, 3.0, 0.8, 12.0, -6.0), "external2", 0.42, 12),
    ),
    external_sets=(("external_1", ("lakeside",)), ("external_2", ("harbour",))),
    radius_mm=(5.5, 8.0),
    rounds=3,
)

# the least blur and noise of a scanner that is moved away from the others
LEAST_KERNEL_MM, LEAST_NOISE_HU = 0.2, 1.0


def with_scanner_shift(plan: PhantomPlan, factor: float) -> PhantomPlan:
    """Return the plan with its hospitals' scanners so many times as far apart.

    Blur, noise and offset move away from their mean over the hospitals, or with a factor below 1
    towards it; voxel sizes and patients stay.

    Examples
    --------
    >>> alike = with_scanner_shift(SMALL, 0.0)
    >>> {hospital.scanner.offset_hu for hospital in alike.hospitals}
    {-0.6666666666666666}
    """
    if factor == 1.0:
        return plan
    scanners = [hospital.scanner for hospital in plan.hospitals]
    blur = fmean(one.kernel_mm for one in scanners)
    noise = fmean(one.noise_hu for one in scanners)
    offset = fmean(one.offset_hu for one in scanners)

    def moved(one: Scanner) -> Scanner:
        return replace(
            one,
            kernel_mm=max(blur + factor * (one.kernel_mm - blur), LEAST_KERNEL_MM),
            noise_hu=max(noise + factor * (one.noise_hu - noise), LEAST_NOISE_HU),
            offset_hu=offset + factor * (one.offset_hu - offset),
        )

    hospitals = tuple(replace(one, scanner=moved(one.scanner)) for one in plan.hospitals)
    return replace(plan, hospitals=hospitals)
