"""Show the crop that the models saw, and by integrated gradients what moved the 3D network.

M. Sundararajan, A. Taly and Q. Yan, Axiomatic attribution for deep networks, ICML 2017,
arXiv:1703.01365. What such maps may not be taken for: J. Adebayo et al., Sanity checks for saliency
maps, NeurIPS 2018, arXiv:1810.03292.
"""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from client.imaging.crops import crop3d
from client.imaging.errors import PatientError
from client.imaging.geometry import roi_box
from client.imaging.preprocess import preprocess, window_range
from client.imaging.reading import read_image, read_mask
from client.predict.inputs import Case
from client.predict.scoring import Prediction, Predictor, job_files
from client.training.batches import Crops, cut, evaluation_draws
from client.training.device import Compute
from client.training.outcomes import score_of
from common.models import networks_seeing
from common.networks.resnet import ScoringNetwork, prepare
from common.study.model import ImagingSettings
from common.study.networks import NetworkSettings

Volume = NDArray[np.float32]
_PIXELS_AN_INCH = 130
_BLUE, _RED = "#1f78d1", "#e0452c"


@dataclass(frozen=True)
class Pictures:
    """PNGs as data URIs; empty where there is none.

    Parameters
    ----------
    crop : three planes with the contour.
    saliency : the same planes with the map of the 3D network.
    side_mm : of the crop.
    explained : share of the network's answer that the map accounts for; NaN = unknown.
    """

    crop: str = ""
    saliency: str = ""
    side_mm: float = 0.0
    explained: float = math.nan


@dataclass(frozen=True)
class Crop:
    """A patient's cube around the ROI.

    Parameters
    ----------
    image : float32 (S, S, S) in [0, 1], axes z, y, x of LPS: towards head, back, and the
        patient's left.
    inside : float32 (S, S, S), share of a voxel that is within the contour.
    side_mm : length of the cube.
    """

    image: Volume
    inside: Volume
    side_mm: float


@dataclass(frozen=True)
class Plane:
    """One cut through a crop: its title, the axis it is across, and what lies at its four edges."""

    title: str
    axis: int
    upright: bool
    left: str
    right: str
    top: str
    bottom: str


PLANES = (
    Plane("Axial", 0, False, "R", "L", "A", "P"),
    Plane("Coronal", 1, True, "R", "L", "S", "I"),
    Plane("Sagittal", 2, True, "A", "P", "S", "I"),
)


def crop_of(case: Case, settings: ImagingSettings) -> Crop:
    """Read, window and crop a patient's image, as the preparation does, and the contour with it.

    Raises
    ------
    PatientError : what `read_image`, `read_mask` and `preprocess` refuse.
    """
    image_path, masks = job_files(case)
    image = read_image(image_path)
    mask = read_mask(masks["r1"], image, confirmed=case.confirmed)
    near, roi = preprocess(image, mask, settings)
    low, high = window_range(settings)
    # the contour goes the way of the image: as one that holds the two ends of the window
    drawn = sitk.Cast(roi, sitk.sitkFloat32) * (high - low) + low
    first, last = roi_box(roi)
    side = float((last - first).max() + 1) * settings.spacing_mm
    return Crop(crop3d(near, roi, settings), crop3d(drawn, roi, settings), side)


def slices_of(crop: Crop) -> tuple[int, int, int]:
    """Return z, y and x at which the contour encloses most."""
    size = range(3)
    areas = [crop.inside.sum(axis=tuple(a for a in size if a != axis)) for axis in size]
    z, y, x = (int(area.argmax()) for area in areas)
    return z, y, x


def picture_of_crop(crop: Crop) -> str:
    """Return three planes with the contour, as a PNG in a data URI."""

    def draw(axes: Axes, plane: Plane, at: int) -> None:
        _show(axes, plane, at, crop)
        _decorate(axes, plane, crop)

    return _picture(crop, draw)


def picture_of_saliency(crop: Crop, saliency: Saliency) -> str:
    """Return the same planes with the map laid over them, as a PNG in a data URI."""
    largest = float(np.abs(saliency.values).max()) or 1.0

    def draw(axes: Axes, plane: Plane, at: int) -> None:
        _show(axes, plane, at, crop)
        relative = _plane(saliency.values, plane, at) / largest
        axes.imshow(_coloured(relative), interpolation="bilinear")
        _decorate(axes, plane, crop)

    return _picture(crop, draw)


def _coloured(relative: NDArray[np.floating]) -> NDArray[np.float64]:
    """Colour red above 0, blue below, the clearer the nearer to 0; RGBA (rows, columns, 4)."""
    red, blue = np.array(to_rgb(_RED)), np.array(to_rgb(_BLUE))
    colour = np.where(relative[..., None] > 0, red, blue)
    # faint values would tint the whole crop
    opacity = np.clip((np.abs(relative) - 0.1) / 0.9, 0, 1) ** 0.7 * 0.85
    return np.concatenate([colour, opacity[..., None]], axis=-1)


def _plane(volume: Volume, plane: Plane, at: int) -> Volume:
    cut: Volume = np.take(volume, at, axis=plane.axis)
    return cut[::-1] if plane.upright else cut  # z grows towards the head, rows go down


def _show(axes: Axes, plane: Plane, at: int, crop: Crop) -> None:
    axes.imshow(_plane(crop.image, plane, at), cmap="gray", vmin=0, vmax=1)


def _decorate(axes: Axes, plane: Plane, crop: Crop) -> None:
    at = slices_of(crop)[plane.axis]
    inside = _plane(crop.inside, plane, at)
    size = inside.shape[0]
    # the frame is outside, so that a contour that touches the edge of the crop is closed
    axes.contour(
        np.arange(-1, size + 1),
        np.arange(-1, size + 1),
        np.pad(inside, 1),
        [0.5],
        colors="#ffd400",
        linewidths=1.3,
    )
    style: dict[str, Any] = {"color": "white", "fontsize": 9, "ha": "center", "va": "center"}
    shade = {"boxstyle": "round,pad=0.15", "facecolor": "black", "alpha": 0.55, "linewidth": 0}
    near, far, middle = 0.05, 0.95, 0.5
    for text, x, y in (
        (plane.left, near, middle),
        (plane.right, far, middle),
        (plane.top, middle, far),
        (plane.bottom, middle, near),
    ):
        axes.text(x, y, text, transform=axes.transAxes, bbox=shade, **style)
    _scale_bar(axes, size, crop.side_mm)
    axes.set_xlim(-0.5, size - 0.5)
    axes.set_ylim(size - 0.5, -0.5)
    axes.set_title(plane.title, fontsize=10)
    axes.set_axis_off()


def _scale_bar(axes: Axes, size: int, side_mm: float) -> None:
    length = 10.0 if side_mm > 25 else 5.0
    pixels = length / side_mm * size
    x, y = size * 0.96 - pixels, size * 0.965
    axes.plot([x, x + pixels], [y, y], color="white", linewidth=2.5, solid_capstyle="butt")
    axes.text(
        x + pixels / 2,
        y - size * 0.02,
        f"{length:g} mm",
        color="white",
        fontsize=8,
        ha="center",
        va="bottom",
    )


def _picture(crop: Crop, draw: Any) -> str:
    figure = Figure(figsize=(8.4, 3.0), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, plane, at in zip(figure.subplots(1, 3), PLANES, slices_of(crop), strict=True):
        draw(axes, plane, at)
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=_PIXELS_AN_INCH, metadata={"Software": None})
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"


(VOLUME,) = networks_seeing(3)
SMOOTHING = 0.05
"""Standard deviation of the smoothing, as a share of the crop's side."""


@dataclass(frozen=True)
class Saliency:
    """Influence of each voxel on the logit, or on the logarithm of the cumulative hazard.

    Parameters
    ----------
    values : float32 (S, S, S), axes z, y, x of the crop, smoothed; above 0 it raised the
        probability. Zero where the network did not look: it sees the middle of the crop.
    seen : first and last voxel + 1 of that middle, the same along every axis.
    explained : sum of the unsmoothed map over the difference in score that it has to add up to;
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
    last: int | None = None,
) -> Saliency:
    """Return crop times mean gradient of the score between an empty crop and it.

    The empty crop holds 0 everywhere, the window's low end: it has no contrast to see anything by.
    The gradients are taken in the middle of `steps` equal parts of the way, in float32.

    Parameters
    ----------
    crop : float32 (S, S, S) in [0, 1], axes z, y, x; its middle is taken, as in every evaluation.
    steps : 16 or more leave a few percent unexplained in most networks.
    last : last period before the horizon, where the endpoint has a time; see `score_of`.
    """
    one = Crops([crop], np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.float32))
    draw = next(evaluation_draws(one, settings))
    middle = torch.from_numpy(cut(one, draw, settings.input_size)).to(compute.device)
    model = model.to(compute.device).eval()
    total = torch.zeros_like(middle)
    for step in range(steps):
        point = (middle * ((step + 0.5) / steps)).requires_grad_()
        score = score_of(model(prepare(VOLUME, point))[1], last)
        total += torch.autograd.grad(score.sum(), point)[0]
    found = (middle * total / steps)[0].cpu().numpy()
    with torch.no_grad():
        both = torch.cat([middle, torch.zeros_like(middle)])
        ends = score_of(model(prepare(VOLUME, both))[1], last).tolist()
    gap = ends[0] - ends[1]
    explained = float(found.sum()) / gap if abs(gap) > 1e-6 else float("nan")
    start = int(draw.starts[0, 0])
    stop = start + settings.input_size
    whole = np.zeros_like(crop)
    whole[start:stop, start:stop, start:stop] = found
    smooth = gaussian_filter(whole, SMOOTHING * crop.shape[0])
    return Saliency(np.asarray(smooth, dtype=np.float32), (start, stop), explained)


def pictures_of(prediction: Prediction, predictor: Predictor, steps: int) -> Pictures:
    """Make the crop and the map of the 3D network; empty where the patient has no image.

    Parameters
    ----------
    steps : of the map; 0 = none.
    """
    study, case = predictor.opened.study, prediction.case
    if case.image is None or not study.needs_images:
        return Pictures()

    try:
        crop = crop_of(case, study.imaging)
    except PatientError:
        # the models of this study need no crop, and this ROI gives none
        return Pictures()
    shown = picture_of_crop(crop)
    if VOLUME not in predictor.networks or not steps:
        return Pictures(shown, side_mm=crop.side_mm)
    model, settings = predictor.networks[VOLUME], study.network(VOLUME)
    last = None if study.follow_up is None else study.follow_up.last_periods[0]
    saliency = integrated_gradients(model, crop.image, settings, predictor.compute, steps, last)
    laid = picture_of_saliency(crop, saliency)
    return Pictures(shown, laid, crop.side_mm, saliency.explained)
