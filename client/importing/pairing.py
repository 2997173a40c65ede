"""Find the one CT series and ROI of each person; nothing ambiguous is chosen silently."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from client.importing.pseudonyms import Pseudonyms, same_person
from client.importing.survey import Contours, Series, Survey
from common.utils.text_file import plain_text

Match = Literal["PatientID", "AccessionNumber"]


@dataclass(frozen=True)
class Pair:
    """An ROI and the series that it was drawn on.

    Parameters
    ----------
    roi : its number in the file of contours.
    by_frame : the contours name no series; it is the only one in their frame of reference.
    """

    contours: Contours
    series: Series
    roi: int
    by_frame: bool = False

    @property
    def roi_name(self) -> str:
        """Name of the ROI, for this hospital's screen alone."""
        return plain_text(self.contours.rois[self.roi])

    def code(self, names: Pseudonyms) -> str:
        """Return a short name to choose it by."""
        return names.code(self.contours.stored.instance, self.series.uid, str(self.roi))


@dataclass(frozen=True)
class Images:
    """Everything of one person, or of one examination.

    Parameters
    ----------
    key : normalised Patient ID or accession number.
    patients : Patient IDs; several under one accession number are a mistake.
    series : CT series.
    contours : drawn on one of them, or of that person.
    pairs : ROIs with their series; one where there is no doubt.
    readings : those of repeated readings, which may be missing.
    foreign : contours name a series of another person.
    """

    key: str
    patients: frozenset[str]
    series: tuple[Series, ...]
    contours: tuple[Contours, ...]
    pairs: tuple[Pair, ...]
    readings: Mapping[str, tuple[Pair, ...]]
    foreign: bool


def images_by_person(
    found: Survey,
    match: Match,
    rois: Sequence[str],
    readings: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> dict[str, Images]:
    """Group the survey by person, or by examination, and pair contours with series.

    Parameters
    ----------
    match : the header's element that the hospital's table refers to.
    rois : accepted names of the ROI, the most wanted first; empty accepts any.
    readings : accepted names of repeated readings of it.
    """
    by_instance = {one.instance: own.uid for own in found.series.values() for one in own.slices}
    linked = {id(one): _referred(one, found, by_instance) for one in found.contours}
    series: dict[str, list[Series]] = defaultdict(list)
    contours: dict[str, list[Contours]] = defaultdict(list)
    for own in found.series.values():
        for key in {_key(one.patient, one.accession, match) for one in own.slices} - {""}:
            series[key].append(own)
    for one in found.contours:
        # a planning system seldom copies all of a series' identity
        keys = {_key(one.stored.patient, one.stored.accession, match)} | {
            _key(part.patient, part.accession, match)
            for own, _ in linked[id(one)]
            for part in own.slices
        }
        for key in keys - {""}:
            contours[key].append(one)
    return {
        key: _images(key, series[key], contours[key], linked, rois, readings)
        for key in sorted({*series, *contours})
    }


def _key(patient: str, accession: str, match: Match) -> str:
    return same_person(patient if match == "PatientID" else accession)


def _images(
    key: str,
    series: list[Series],
    contours: list[Contours],
    linked: dict[int, list[tuple[Series, bool]]],
    rois: Sequence[str],
    readings: Mapping[str, Sequence[str]],
) -> Images:
    pairs, foreign = [], False
    for one in contours:
        for own, by_frame in linked[id(one)]:
            if own.patients - {one.stored.patient or next(iter(own.patients))}:
                foreign = True
                continue
            if own not in series:
                continue
            pairs += [Pair(one, own, number, by_frame) for number in one.rois]
    again = {name: tuple(_wanted(pairs, names)) for name, names in readings.items() if names}
    claimed = [pair for found in again.values() for pair in found]
    first = [pair for pair in pairs if pair not in claimed]
    stored = [part for own in series for part in own.slices] or [one.stored for one in contours]
    return Images(
        key=key,
        patients=frozenset(one.patient for one in stored),
        series=tuple(series),
        contours=tuple(contours),
        pairs=tuple(_wanted(first, rois)),
        readings=again,
        foreign=foreign,
    )


def _wanted(pairs: Sequence[Pair], rois: Iterable[str]) -> list[Pair]:
    """Return the pairs of the first accepted name that occurs."""
    wanted = [plain_text(name).casefold() for name in rois]
    if not wanted:
        return list(pairs)
    for name in wanted:
        found = [pair for pair in pairs if pair.roi_name.casefold() == name]
        if found:
            return found
    return []


def _referred(
    contours: Contours, found: Survey, by_instance: Mapping[str, str]
) -> list[tuple[Series, bool]]:
    """Return the series that contours refer to, and whether by their frame of reference alone."""
    named = set(contours.series)
    named |= {by_instance[uid] for uid in contours.instances & by_instance.keys()}
    if named:
        return [(found.series[uid], False) for uid in sorted(named & found.series.keys())]
    return [
        (own, True)
        for _, own in sorted(found.series.items())
        if own.frames & contours.frames and own.patients <= {contours.stored.patient}
    ]
