"""Which series a volume was read from, carried in its meta-data so that masks can be checked."""

from __future__ import annotations

from dataclasses import dataclass

import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by

from client.imaging.errors import PatientError

_SERIES, _FRAME, _INSTANCES = "0020|000e", "0020|0052", "0008|0018"


@dataclass(frozen=True)
class SeriesIdentity:
    """UIDs of a series.

    Parameters
    ----------
    series : Series Instance UID.
    frame_of_reference : empty where the series has none.
    instances : SOP Instance UIDs, in the order of the volume's slices.
    """

    series: str
    frame_of_reference: str
    instances: tuple[str, ...]

    def attach(self, image: sitk.Image) -> None:
        """Note it in the volume; most filters of ITK drop it again."""
        image.SetMetaData(_SERIES, self.series)
        image.SetMetaData(_FRAME, self.frame_of_reference)
        image.SetMetaData(_INSTANCES, "\\".join(self.instances))

    @staticmethod
    def of(image: sitk.Image, where: str) -> SeriesIdentity:
        """What `attach` noted; PatientError, about the mask `where`, when there is nothing."""
        if not image.HasMetaDataKey(_SERIES):
            raise PatientError(
                "a DICOM mask, but the image is not the DICOM series that it was drawn on",
                where=where,
                remedy="give the folder of that CT series as image, or both as volumes",
            )
        return SeriesIdentity(
            image.GetMetaData(_SERIES),
            image.GetMetaData(_FRAME),
            tuple(image.GetMetaData(_INSTANCES).split("\\")),
        )
