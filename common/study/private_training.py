"""Record-level differential privacy of the networks' training: settings and exclusions.

Abadi et al. 2016, "Deep learning with differential privacy" (DP-SGD).
"""

from __future__ import annotations

from pydantic import Field

from common.study.block import Settings
from common.study.networks import NetworkSettings


class DifferentialPrivacy(Settings):
    """Noise and clipping of every step of a site's training; a record is a patient.

    Each patient's gradient is clipped to the norm `max_gradient_norm`; Gaussian noise with
    `noise_multiplier` times that norm as its SD is added to their sum. `delta` is the probability
    that the promise epsilon is not kept: well below one over the number of patients.
    """

    noise_multiplier: float = Field(0.0, ge=0, allow_inf_nan=False, description="0 = off")
    max_gradient_norm: float = Field(1.0, gt=0, allow_inf_nan=False)
    delta: float = Field(1e-5, gt=0, lt=1)

    @property
    def on(self) -> bool:
        """True when noise is added at all."""
        return self.noise_multiplier > 0


def check_trains_privately(settings: NetworkSettings) -> None:
    """Refuse settings that would break the promise, or silently have no effect.

    BatchNorm mixes the patients of a batch, so that no gradient is one patient's; with statistics
    that never change it does not. Balanced sampling lets the labels decide how often a patient
    is drawn, and the accountant assumes one known rate for all.

    Raises
    ------
    ValueError : with the remedy.
    """
    if settings.norm == "batch":
        raise ValueError(
            'norm = "batch" mixes the patients of a batch, which differential privacy forbids:'
            ' write norm = "group", or norm = "frozen" with pretrained weights'
        )
    if settings.sampling == "balanced":
        raise ValueError(
            'sampling = "balanced" draws patients by their label, which differential privacy'
            ' forbids: write sampling = "shuffled" and, if need be, class_weights'
        )
    if settings.gradient_clip:
        raise ValueError(
            "gradient_clip would clip the noise of differential privacy: write gradient_clip = 0,"
            " as max_gradient_norm clips each patient's gradient"
        )
    if not settings.spec.private:
        raise ValueError(
            f'strategy "{settings.strategy}" works on gradients that no noise was added to:'
            " choose another with differential privacy"
        )
    if settings.validates:
        raise ValueError(
            'select = "best" sends losses that differential privacy does not cover: write'
            ' select = "last" and patience = 0'
        )
