"""PyRadiomics' extractor with its slow inner parts replaced by equal ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from numpy.typing import NDArray
from radiomics import imageoperations
from radiomics.featureextractor import RadiomicsFeatureExtractor
from radiomics.firstorder import RadiomicsFirstOrder
from radiomics.glcm import RadiomicsGLCM
from radiomics.gldm import RadiomicsGLDM
from radiomics.glrlm import RadiomicsGLRLM
from radiomics.glszm import RadiomicsGLSZM
from radiomics.ngtdm import RadiomicsNGTDM

from client.imaging.radiomics import firstorder, glcm, textures
from client.imaging.radiomics.filters import filtered
from client.imaging.radiomics.levels import levels_of
from client.imaging.radiomics.matrices import Seen, Texture, names_of
from client.imaging.radiomics.region import Region, bounding_box, region
from client.imaging.radiomics.shape import Shape

Names = tuple[str, ...]
Features = Callable[[Seen, Names], Mapping[str, float]]

CLASSES: Mapping[str, tuple[type, Features]] = {
    "firstorder": (RadiomicsFirstOrder, lambda seen, _: firstorder.features(seen)),
    "glcm": (RadiomicsGLCM, glcm.features),
    "gldm": (RadiomicsGLDM, lambda seen, _: textures.gldm_features(seen)),
    "glrlm": (RadiomicsGLRLM, lambda seen, _: textures.glrlm_features(seen)),
    "glszm": (RadiomicsGLSZM, lambda seen, _: textures.glszm_features(seen)),
    "ngtdm": (RadiomicsNGTDM, lambda seen, _: textures.ngtdm_features(seen)),
}
"""Class of PyRadiomics that names the features, and its replacement."""

_USUAL: Mapping[str, Any] = {
    "binCount": None,
    "distances": [1],
    "force2D": False,
    "gldm_a": 0,
    "label_channel": 0,
    "resegmentRange": None,
    "symmetricalGLCM": True,
    "weightingNorm": None,
    "additionalInfo": False,
}
"""Settings that the replacements support; with others the untouched extractor works."""


class FastExtractor(RadiomicsFeatureExtractor):  # type: ignore[misc]  # PyRadiomics has no types
    """PyRadiomics' features under the same names, for an image and a mask in memory.

    Cases that the replacements do not cover (other settings, other classes, values that are not
    finite) go through the untouched code, part by part.
    """

    def execute(
        self,
        imageFilepath: sitk.Image,
        maskFilepath: sitk.Image,
        label: int | None = None,
        label_channel: int | None = None,
        voxelBased: bool = False,
    ) -> OrderedDict[str, Any]:
        """Compute the features of an ROI; overrides PyRadiomics' method."""
        plain = label is None and label_channel is None and not voxelBased
        if not (plain and self._is_usual(imageFilepath)):
            untouched: OrderedDict[str, Any] = super().execute(
                imageFilepath, maskFilepath, label, label_channel, voxelBased
            )
            return untouched
        settings = dict(self.settings)
        image, mask, box = self._checked(imageFilepath, maskFilepath, settings)
        inside = sitk.GetArrayViewFromImage(mask) == settings.get("label", 1)
        where = region(inside)
        found: OrderedDict[str, Any] = OrderedDict()
        found.update(self._shape(image, mask, box, where))
        wanted = self._wanted()
        flat: dict[int, Texture] = {}
        for kind, own in self.enabledImagetypes.items():
            for name, values in filtered(kind, image, mask, where, {**settings, **own}):
                if wanted is not None and np.isfinite(values).all():
                    levels = levels_of(values, where, {**settings, **own})
                    texture = Texture(levels)
                    if len(levels.present) == 1:
                        # all images of this one level have the same matrices
                        texture = flat.setdefault(int(levels.present[0]), texture)
                    seen = Seen(values, image.GetSpacing(), texture, {**settings, **own})
                    for prefix, names, features in wanted:
                        made = features(seen, names)
                        start = f"{name}_{prefix}_"
                        found.update({start + one: made[one] for one in names})
                else:
                    whole = _image(values, where, image)
                    cut, cut_mask = imageoperations.cropToTumorMask(whole, mask, box)
                    found.update(self.computeFeatures(cut, cut_mask, name, **{**settings, **own}))
        return found

    def _checked(
        self, image: sitk.Image, mask: sitk.Image, settings: Mapping[str, Any]
    ) -> tuple[sitk.Image, sitk.Image, NDArray[Any]]:
        """Return image, mask and the ROI's box, checked as by PyRadiomics, but faster if sound."""
        done = (settings.get(name) for name in ("normalize", "preCrop", "minimumROISize"))
        same = _same_grid(image, mask) and not any(done)
        if same and settings.get("resampledPixelSpacing") is None and _is_whole(mask):
            inside = sitk.GetArrayViewFromImage(mask) == settings.get("label", 1)
            if inside.any():
                ends = [(side.start, side.stop - 1) for side in reversed(bounding_box(inside))]
                sides = sum(last > first for first, last in ends)
                if sides >= max(settings.get("minimumROIDimensions", 2), 1):
                    return image, mask, np.array(ends).reshape(-1)
        image, mask = self.loadImage(image, mask, None, **settings)
        box, corrected = imageoperations.checkMask(image, mask, **settings)
        return image, mask if corrected is None else corrected, box

    def _wanted(self) -> list[tuple[str, Names, Features]] | None:
        """Return class, names and replacement in the order of the settings.

        None if a class or feature has no replacement.
        """
        wanted = []
        for kind, chosen in self.enabledFeatures.items():
            if kind.startswith("shape"):
                continue
            if kind not in CLASSES:
                return None
            original, features = CLASSES[kind]
            deprecated = names_of(original)
            if any(deprecated.get(name, True) for name in chosen or ()):
                return None
            usual = (name for name, old in deprecated.items() if not old)
            wanted.append((kind, tuple(dict.fromkeys(chosen or usual)), features))
        return wanted

    def _is_usual(self, image: object) -> bool:
        if not isinstance(image, sitk.Image) or image.GetDimension() != 3:
            return False
        own = [self.settings, *self.enabledImagetypes.values()]
        return all(
            settings.get(name, usual) in (usual, None)
            for settings in own
            for name, usual in _USUAL.items()
        )

    def _shape(
        self, image: sitk.Image, mask: sitk.Image, box: NDArray[Any], where: Region
    ) -> Mapping[str, Any]:
        if "shape2D" in self.enabledFeatures:
            untouched: Mapping[str, Any] = self.computeShape(image, mask, box, **self.settings)
            return untouched
        if "shape" not in self.enabledFeatures:
            return {}
        shape = Shape(where.inside, image.GetSpacing(), self.settings)
        for feature in self.enabledFeatures["shape"] or ():
            shape.enableFeatureByName(feature)
        values = shape.execute()
        return {f"original_shape_{name}": value for name, value in values.items()}


def _same_grid(one: sitk.Image, other: sitk.Image) -> bool:
    return bool(
        one.GetSize() == other.GetSize()
        and one.GetSpacing() == other.GetSpacing()
        and one.GetOrigin() == other.GetOrigin()
        and one.GetDirection() == other.GetDirection()
    )


def _is_whole(mask: sitk.Image) -> bool:
    """Return whether a mask has one whole number per voxel."""
    return np.dtype(sitk.GetArrayViewFromImage(mask).dtype).kind in "ui" and (
        mask.GetNumberOfComponentsPerPixel() == 1
    )


def _image(values: NDArray[Any], where: Region, like: sitk.Image) -> sitk.Image:
    """Put the ROI's values back into a box; no feature looks at the rest of it."""
    box = np.zeros(where.mask.shape, dtype=values.dtype)
    box[where.mask] = values
    image = sitk.GetImageFromArray(box)
    image.CopyInformation(like)
    return image
