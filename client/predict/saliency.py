"""What in a crop moved a 3D network: integrated gradients.

M. Sundararajan, A. Taly and Q. Yan, Axiomatic attribution for deep networks, ICML 2017,
arXiv:1703.01365. What such maps may not be taken for: J. Adebayo et al., Sanity checks for saliency
maps, NeurIPS 2018, arXiv:1810.03292.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from client.training.batches import Crops, evaluation_draws
from client.training.device import Compute
from client.training.loading import cut
from common.networks.resnet import ScoringNetwork, prepare
from common.study.networks import NetworkSettings

Volume = NDArray[np.float32]
SMOOTHING = 0.05
"""Standard deviation of the smoothing, as a share of the crop's side."""


@dataclass(frozen=True)
class Saliency:
    """How much each voxel moved the logit.

    Parameters
    ----------
    values : float32 (S, S, S), axes z, y, x of the crop, smoothed; above 0 it raised the
        probability. Zero where the network did not look: it sees the middle of the crop.
    seen : first and last voxel + 1 of that middle, the same along every axis.
    explained : sum of the unsmoothed map over the difference in logit that it has to add up to;
        near 1, or there were too few steps. NaN where that difference is nearly 0.
    """

    values: Volume
    seen: tuple[int, int]
    explained: float


def integrated_gradients(
    model: ScoringNetwork,
    crop: Volume,
    settings: NetworkSettings,
    compute: Compute,
    steps: int,
) -> Saliency:
    """Crop times the mean gradient of the logit on the straight way from an empty crop to it.

    The empty crop holds 0 everywhere, the window's low end: it has no contrast to see anything by.
    The gradients are taken in the middle of `steps` equal parts of the way, in float32.

    Parameters
    ----------
    crop : float32 (S, S, S) in [0, 1], axes z, y, x; its middle is taken, as in every evaluation.
    steps : 16 or more leave a few percent unexplained in most networks.
    """
    one = Crops([crop], np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.float32))
    draw = next(evaluation_draws(one, settings))
    middle = torch.from_numpy(cut(one, draw, settings.input_size)).to(compute.device)
    model = model.to(compute.device).eval()
    total = torch.zeros_like(middle)
    for step in range(steps):
        point = (middle * ((step + 0.5) / steps)).requires_grad_()
        _, logit = model(prepare("dl3d", point))
        total += torch.autograd.grad(logit.sum(), point)[0]
    found = (middle * total / steps)[0].cpu().numpy()
    with torch.no_grad():
        ends = [float(model(prepare("dl3d", x))[1]) for x in (middle, torch.zeros_like(middle))]
    gap = ends[0] - ends[1]
    explained = float(found.sum()) / gap if abs(gap) > 1e-6 else float("nan")
    start = int(draw.starts[0, 0])
    stop = start + settings.input_size
    whole = np.zeros_like(crop)
    whole[start:stop, start:stop, start:stop] = found
    smooth = gaussian_filter(whole, SMOOTHING * crop.shape[0])
    return Saliency(np.asarray(smooth, dtype=np.float32), (start, stop), explained)
