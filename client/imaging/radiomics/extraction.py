"""Radiomics features by PyRadiomics, the same 1834 at every site.

The settings (`common/presets/radiomics-1834.yaml`) are a reconstruction: the paper names the tool
and the number, its supplement is not public.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from numpy.typing import NDArray
from radiomics import imageoperations
from radiomics.featureextractor import RadiomicsFeatureExtractor

from client.data.cohort_file import NOTHING
from client.imaging.errors import PatientError
from client.imaging.geometry import IDENTITY, Index, at_origin, cut, roi_box
from client.imaging.preprocess import SPLINE_SUPPORT, windowed
from client.imaging.radiomics import Engine
from client.imaging.radiomics.engine import FastExtractor
from client.imaging.radiomics.spline import on_grid
from client.imaging.reading import GEOMETRY_TOLERANCE, read_image, read_mask
from client.imaging.workers import one_thread
from common.errors import StudyError
from common.presets import settings_file
from common.study.model import ImagingSettings
from common.utils.csv_file import write_csv

Features = NDArray[np.float64]
_MUTED = ("radiomics", "pykwalify")


def extract(
    image_path: Path,
    mask_path: Path,
    settings_name: str,
    expected: int,
    *,
    confirmed: frozenset[str] = NOTHING,
    engine: Engine = "fast",
) -> tuple[tuple[str, ...], Features]:
    """Return names and values (features,) of one ROI, in PyRadiomics' order, without diagnostics.

    The image goes to PyRadiomics in HU and unwindowed, as float32 whatever the file stores:
    integer files would be rounded after resampling and within LBP-3D, so that sites with integer
    and with float files would disagree.

    Parameters
    ----------
    settings_name : a .yaml file of `common/presets`, without its ending.
    expected : number of features it has to give.
    confirmed : findings of the mask's header that somebody has checked and confirmed.
    engine : "pyradiomics" computes with the untouched library.

    Raises
    ------
    PatientError : the files cannot be used, or the ROI does not allow these features.
    InputError : no such settings.
    StudyError : another number of features: the site's installation differs from the study's.
    """
    image = read_image(image_path)
    mask = read_mask(mask_path, image, confirmed=confirmed)
    return extract_roi(image, mask, settings_name, expected, where=mask_path.name, engine=engine)


def extract_roi(
    image: sitk.Image,
    mask: sitk.Image,
    settings_name: str,
    expected: int,
    *,
    where: str = "",
    window: ImagingSettings | None = None,
    engine: Engine = "fast",
) -> tuple[tuple[str, ...], Features]:
    """Run `extract` for an image and mask already read.

    Parameters
    ----------
    where : names the mask in errors.
    window : clip the image to this window, in this block's order; None = as it is.
    """
    with _alone_and_quiet():
        tool = tool_of(settings_name, engine)
        try:
            volumes = resample_roi(image, mask, tool.resampling, window, engine)
            found = tool.extractor.execute(*volumes)
        except (ValueError, RuntimeError) as error:
            raise PatientError(
                f"no features: {_in_a_line(error)}",
                where=where,
                remedy="check the segmentation: the ROI may be too small or flat",
            ) from None
    names = tuple(found)
    values = np.array([float(found[name]) for name in names], dtype=np.float64)
    _check(names, values, expected, tool.extractor, where)
    return names, values


def feature_names(settings_name: str, expected: int) -> tuple[str, ...]:
    """Return the names of the features in the order of `extract`, from a ball of noise."""
    voxels = np.random.default_rng(0).normal(50, 20, (16, 16, 16)).astype(np.float32)
    z, y, x = np.indices(voxels.shape) - 7.5
    image = sitk.GetImageFromArray(voxels)
    mask = sitk.GetImageFromArray((z**2 + y**2 + x**2 < 25).astype(np.uint8))
    return extract_roi(image, mask, settings_name, expected)[0]


def to_csv(path: Path, names: Sequence[str], values: Features) -> None:
    """Write one header line and one line of values, exact to the last digit (PyRadiomics' csv)."""
    write_csv(path, [names, [repr(float(value)) for value in values]])


@dataclass(frozen=True)
class Tool:
    """Extractor that does not resample, and the settings to resample by before it."""

    extractor: RadiomicsFeatureExtractor
    resampling: dict[str, Any]


@cache
def tool_of(settings_name: str, engine: Engine) -> Tool:
    """Return the extractor for a settings file of `common/presets`."""
    # kept: reading and validating the YAML takes as long as the features of a small ROI
    with resources.as_file(settings_file(settings_name)) as path:
        kind = FastExtractor if engine == "fast" else RadiomicsFeatureExtractor
        extractor = kind(str(path), additionalInfo=False)
    resampling = dict(extractor.settings)
    extractor.settings["resampledPixelSpacing"] = None
    return Tool(extractor, resampling)


def source_box(mask: sitk.Image, settings_name: str) -> tuple[Index, Index]:
    """Return first and last voxel of the image that the features depend on.

    They may lie beyond the image. Without resampling the whole image counts.
    """
    settings = tool_of(settings_name, "fast").resampling
    if settings.get("resampledPixelSpacing") is None:
        return np.zeros(3, dtype=np.int64), np.array(mask.GetSize(), dtype=np.int64) - 1
    return _source_box(mask, settings)


def _source_box(mask: sitk.Image, settings: dict[str, Any]) -> tuple[Index, Index]:
    wanted, spacing = settings["resampledPixelSpacing"], np.array(mask.GetSpacing())
    padding = np.ceil((settings["padDistance"] + 2) * np.maximum(wanted, spacing) / spacing)
    reach = padding.astype(np.int64) + SPLINE_SUPPORT
    first, last = roi_box(mask)
    return first - reach, last + reach


def resample_roi(
    image: sitk.Image,
    mask: sitk.Image,
    settings: dict[str, Any],
    window: ImagingSettings | None,
    engine: Engine,
) -> tuple[sitk.Image, sitk.Image]:
    """Resample the ROI and its padding exactly as PyRadiomics does.

    It lays its grid by the mask alone, so the mask stays whole; the image, whose spline prefilter
    takes the time, is cut to the part that decides the wanted voxels. The window is clipped before
    and after, as in `preprocess`. Both are moved to origin 0: otherwise rounding of coordinates
    would decide which of two equally near voxels the mask takes.
    """
    mask = at_origin(mask)
    wanted = settings.get("resampledPixelSpacing")
    if wanted is None:
        image = at_origin(image)
        return (image if window is None else windowed(image, window)), mask
    first, last = roi_box(mask)
    start, end = _source_box(mask, settings)
    near = cut(image, start, end)
    near.SetOrigin((np.maximum(start, 0) * np.array(image.GetSpacing())).tolist())
    near.SetDirection(IDENTITY)
    if window is not None and window.order == "window_first":
        near = windowed(near, window)
    if engine == "fast":
        made, roi = on_grid(near, mask, first, last, settings)
    else:
        made, roi = imageoperations.resampleImage(near, mask, **settings)
    return (made if window is None else windowed(made, window)), roi


def _check(
    names: tuple[str, ...],
    values: Features,
    expected: int,
    extractor: RadiomicsFeatureExtractor,
    where: str,
) -> None:
    kinds = extractor.enabledImagetypes
    if "LBP3D" in kinds and not any(name.startswith("lbp-3D") for name in names):
        raise StudyError(
            f"PyRadiomics gives {len(names)} features instead of {expected}: LBP-3D is missing",
            where="installation",
            remedy='install trimesh and "scipy>=1.13,<1.17" beside pyradiomics-bhklab 3.1.4',
        )
    sigmas = kinds.get("LoG", {}).get("sigma", ())
    if len({name.split("_")[0] for name in names if name.startswith("log-")}) < len(sigmas):
        raise PatientError(
            "the image around the ROI is too small for the LoG filter",
            where=where,
            remedy="give the whole image, not a cut-out with fewer than four voxels a side",
        )
    if len(names) != expected:
        raise StudyError(
            f"PyRadiomics gives {len(names)} features, the study expects {expected}",
            where="radiomics.expected_features",
            remedy="install pyradiomics-bhklab 3.1.4, or correct the number in study.toml",
        )
    if not np.isfinite(values).all():
        strange = [names[k] for k in np.flatnonzero(~np.isfinite(values))]
        raise PatientError(
            f"{len(strange)} features are not finite numbers, the first is {strange[0]}",
            where=where,
            remedy="check the segmentation: the ROI may be a few voxels only, or flat",
        )


def _in_a_line(error: Exception) -> str:
    """Return the line with the cause: PyRadiomics' first, the last of ITK (a RuntimeError)."""
    lines = [line.strip(" :") for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1] if isinstance(error, RuntimeError) else lines[0]


@contextmanager
def _alone_and_quiet() -> Iterator[None]:
    """Use one thread, no log and no warnings; undo what PyRadiomics sets for the whole process."""
    filters = sitk.ProcessObject
    coordinates = filters.GetGlobalDefaultCoordinateTolerance()
    directions = filters.GetGlobalDefaultDirectionTolerance()
    loggers = [logging.getLogger(name) for name in _MUTED]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    # what `read_mask` accepts must be accepted here
    filters.SetGlobalDefaultCoordinateTolerance(GEOMETRY_TOLERANCE)
    filters.SetGlobalDefaultDirectionTolerance(GEOMETRY_TOLERANCE)
    try:
        with one_thread(), warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        filters.SetGlobalDefaultCoordinateTolerance(coordinates)
        filters.SetGlobalDefaultDirectionTolerance(directions)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
