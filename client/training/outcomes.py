"""Outcomes that a network learns from, its loss, and what its outputs say of a patient.

A finding that is there or not takes one logit. Of a time to event every period of the study's grid
has an output, the logit of the hazard there (Gensheimer and Narasimhan 2019, PeerJ 7:e6257): a
patient counts in each period up to the last one, as having the event in that one or nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from common.study.networks import NetworkSettings

# a risk of 0 or 1 has no logarithm of a hazard
_NARROWEST = 1e-12


@dataclass(frozen=True)
class Outcomes:
    """Outcomes of n crops.

    Parameters
    ----------
    label : float32 (n,), 1.0 with the finding or event.
    period : int64 (n,), in which the follow-up ended; None where the endpoint has no time.
    """

    label: NDArray[np.float32]
    period: NDArray[np.int64] | None = None

    def part(self, chosen: NDArray[np.int64] | slice) -> Outcomes:
        """Return the outcomes of some of the crops."""
        period = None if self.period is None else self.period[chosen]
        return Outcomes(self.label[chosen], period)


def crop_losses(
    logits: torch.Tensor, outcomes: Outcomes, settings: NetworkSettings
) -> torch.Tensor:
    """Return the weighted loss of each crop, (n,).

    Parameters
    ----------
    logits : (n,), or (n, periods) of a time to event.
    """
    weights = on_device(class_weights(outcomes.label, settings), logits.device).to(logits.dtype)
    label = on_device(outcomes.label, logits.device).to(logits.dtype)
    if outcomes.period is None:
        return binary_cross_entropy_with_logits(logits, label, weights, reduction="none")
    return weights * hazard_losses(logits, label, on_device(outcomes.period, logits.device))


def mean_loss(logits: torch.Tensor, outcomes: Outcomes, settings: NetworkSettings) -> torch.Tensor:
    """Return the mean weighted loss of a batch.

    Of yes and no it is the library's own mean: that of `crop_losses` has other last bits, which
    training would make visible.
    """
    if outcomes.period is not None:
        return crop_losses(logits, outcomes, settings).mean()
    weights = on_device(class_weights(outcomes.label, settings), logits.device)
    label = on_device(outcomes.label, logits.device)
    return binary_cross_entropy_with_logits(logits, label, weights)


def hazard_losses(logits: torch.Tensor, label: torch.Tensor, period: torch.Tensor) -> torch.Tensor:
    """Return the negative log-likelihood of discrete hazards of each patient, (n,).

    Who was last seen in a period counts there as without the event, which comes first.

    Parameters
    ----------
    logits : (n, periods). label : (n,), 1 = had the event. period : int64 (n,), the last one.

    Examples
    --------
    >>> hazard_losses(torch.zeros(2, 3), torch.tensor([1.0, 0.0]), torch.tensor([0, 1]))
    tensor([0.6931, 1.3863])
    """
    column = torch.arange(logits.shape[1], device=logits.device)
    happens = (column == period[:, None]) * label[:, None]
    each = binary_cross_entropy_with_logits(logits, happens, reduction="none")
    return (each * (column <= period[:, None])).sum(dim=1)


def score_of(logits: torch.Tensor, last: int | None) -> torch.Tensor:
    """Return a score that rises with the risk, (n,): the logit, or the log of a cumulative hazard.

    Parameters
    ----------
    last : last period before the horizon; None where the endpoint has no time.

    Examples
    --------
    >>> score_of(torch.zeros(1, 3), last=1).exp()  # -2 log(1 - 1/2)
    tensor([1.3863])
    """
    return logits if last is None else softplus(logits[:, : last + 1]).sum(dim=1).log()


def patient_answers(
    logits: NDArray[np.float64], patient: NDArray[np.int64], patients: int, last: int | None
) -> NDArray[np.float64]:
    """Return each patient's probability, or logarithm of the cumulative hazard by the horizon.

    Both are of the mean risk over the patient's crops.

    Examples
    --------
    >>> patient_answers(np.zeros((2, 3)), np.array([0, 0]), 1, last=1).round(4)  # risk 3/4
    array([0.3266])
    """
    if last is None:
        risk = 1.0 / (1.0 + np.exp(-np.clip(logits, -500.0, 500.0)))
    else:
        risk = -np.expm1(-np.logaddexp(0.0, logits[:, : last + 1]).sum(axis=1))
    total = np.zeros(patients)
    np.add.at(total, patient, risk)
    mean = total / np.bincount(patient, minlength=patients)
    if last is None:
        return np.asarray(mean)
    return np.asarray(np.log(-np.log1p(-np.clip(mean, _NARROWEST, 1.0 - _NARROWEST))))


def class_weights(label: NDArray[np.float32], settings: NetworkSettings) -> NDArray[np.float32]:
    """Return the weight of each patient's loss (n,), by class."""
    return np.where(label > 0, settings.class_weights[1], settings.class_weights[0]).astype(
        np.float32
    )


def on_device(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    """Copy an array to the device; pinned memory first where that is a GPU."""
    tensor = torch.from_numpy(array)
    # from pinned memory the copy goes on beside the computation
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)
