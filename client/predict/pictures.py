"""The crop that the models saw, in three planes, with the contour and what moved the 3D network."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from numpy.typing import NDArray

from client.imaging.crops import crop3d
from client.imaging.geometry import roi_box
from client.imaging.preprocess import preprocess, window_range
from client.imaging.reading import read_image, read_mask
from client.predict.inputs import Case
from client.predict.scoring import job_files
from common.study.model import ImagingSettings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from client.predict.saliency import Saliency

Volume = NDArray[np.float32]
_PIXELS_AN_INCH = 130
_BLUE, _RED = "#1f78d1", "#e0452c"


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
    """Across z, y and x: where the contour encloses most."""
    size = range(3)
    areas = [crop.inside.sum(axis=tuple(a for a in size if a != axis)) for axis in size]
    z, y, x = (int(area.argmax()) for area in areas)
    return z, y, x


def picture_of_crop(crop: Crop) -> str:
    """Three planes with the contour, as a PNG in a data URI."""

    def draw(axes: Axes, plane: Plane, at: int) -> None:
        _show(axes, plane, at, crop)
        _decorate(axes, plane, crop)

    return _picture(crop, draw)


def picture_of_saliency(crop: Crop, saliency: Saliency) -> str:
    """The same planes with the map laid over them, as a PNG in a data URI."""
    largest = float(np.abs(saliency.values).max()) or 1.0

    def draw(axes: Axes, plane: Plane, at: int) -> None:
        _show(axes, plane, at, crop)
        relative = _plane(saliency.values, plane, at) / largest
        axes.imshow(_coloured(relative), interpolation="bilinear")
        _decorate(axes, plane, crop)

    return _picture(crop, draw)


def _coloured(relative: NDArray[np.floating]) -> NDArray[np.float64]:
    """Red above 0, blue below, the clearer the nearer to 0; RGBA (rows, columns, 4)."""
    from matplotlib.colors import to_rgb

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
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.0), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, plane, at in zip(figure.subplots(1, 3), PLANES, slices_of(crop), strict=True):
        draw(axes, plane, at)
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=_PIXELS_AN_INCH, metadata={"Software": None})
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
