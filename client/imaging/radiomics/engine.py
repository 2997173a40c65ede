"""PyRadiomics' extractor with its slow inner parts replaced by equal ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from numpy.typing import NDArray
from radiomics import imageoperations
from radiomics.featureextractor import RadiomicsFeatureExtractor

from client.imaging.radiomics.filters import filtered
from client.imaging.radiomics.firstorder import FirstOrder
from client.imaging.radiomics.glcm import GLCM
from client.imaging.radiomics.gldm import GLDM
from client.imaging.radiomics.glrlm import GLRLM
from client.imaging.radiomics.glszm import GLSZM
from client.imaging.radiomics.levels import levels_of
from client.imaging.radiomics.matrices import Texture
from client.imaging.radiomics.ngtdm import NGTDM
from client.imaging.radiomics.prepared import Seen, names_of
from client.imaging.radiomics.region import Region, region
from client.imaging.radiomics.shape import Shape

CLASSES: Mapping[str, Any] = {
    "firstorder": FirstOrder,
    "glcm": GLCM,
    "gldm": GLDM,
    "glrlm": GLRLM,
    "glszm": GLSZM,
    "ngtdm": NGTDM,
}

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
"""Settings that the replacements hold for; with others the untouched extractor works."""


class FastExtractor(RadiomicsFeatureExtractor):  # type: ignore[misc]  # PyRadiomics has no types
    """The same features under the same names, for an image and a mask that are in memory.

    What the replacements do not hold for (other settings, other classes, values that are not
    finite) goes through the untouched code, part by part.
    """

    def execute(
        self,
        imageFilepath: sitk.Image,
        maskFilepath: sitk.Image,
        label: int | None = None,
        label_channel: int | None = None,
        voxelBased: bool = False,
    ) -> OrderedDict[str, Any]:
        """Compute the features of an ROI, as PyRadiomics' method of this name does."""
        plain = label is None and label_channel is None and not voxelBased
        if not (plain and self._is_usual(imageFilepath)):
            untouched: OrderedDict[str, Any] = super().execute(
                imageFilepath, maskFilepath, label, label_channel, voxelBased
            )
            return untouched
        settings = dict(self.settings)
        image, mask = self.loadImage(imageFilepath, maskFilepath, None, **settings)
        box, corrected = imageoperations.checkMask(image, mask, **settings)
        mask = mask if corrected is None else corrected
        inside = sitk.GetArrayViewFromImage(mask) == settings.get("label", 1)
        where = region(inside)
        found: OrderedDict[str, Any] = OrderedDict()
        found.update(self._shape(image, mask, box, where))
        for kind, own in self.enabledImagetypes.items():
            for name, values in filtered(kind, image, mask, where, {**settings, **own}):
                found.update(
                    self._classes(image, mask, box, where, name, values, {**settings, **own})
                )
        return found

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
        return self._run("original", "shape", shape)

    def _classes(
        self,
        image: sitk.Image,
        mask: sitk.Image,
        box: NDArray[Any],
        where: Region,
        name: str,
        values: NDArray[Any],
        settings: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        """Features of one image type, in the order of the settings."""
        kinds = [kind for kind in self.enabledFeatures if not kind.startswith("shape")]
        if not (np.isfinite(values).all() and all(map(self._is_replaced, kinds))):
            whole = _image(values, where, image)
            cut, cut_mask = imageoperations.cropToTumorMask(whole, mask, box)
            untouched: Mapping[str, Any] = self.computeFeatures(cut, cut_mask, name, **settings)
            return untouched
        texture = Texture(levels_of(values, where, settings))
        seen = Seen(values, image.GetSpacing(), texture, settings)
        found: dict[str, Any] = {}
        for kind in kinds:
            found |= self._run(name, kind, CLASSES[kind](seen))
        return found

    def _is_replaced(self, kind: str) -> bool:
        """Tell if the replacement of a class has all features that are wanted of it."""
        if kind not in CLASSES:
            return False
        deprecated = names_of(CLASSES[kind])
        return not any(deprecated.get(name, True) for name in self.enabledFeatures[kind] or ())

    def _run(self, image_type: str, kind: str, features: Any) -> dict[str, Any]:
        for feature in self.enabledFeatures[kind] or ():
            features.enableFeatureByName(feature)
        values = features.execute()
        return {f"{image_type}_{kind}_{name}": value for name, value in values.items()}


def _image(values: NDArray[Any], where: Region, like: sitk.Image) -> sitk.Image:
    """Put the ROI's values back into a box; no feature looks at the rest of it."""
    box = np.zeros(where.mask.shape, dtype=values.dtype)
    box[where.mask] = values
    image = sitk.GetImageFromArray(box)
    image.CopyInformation(like)
    return image
