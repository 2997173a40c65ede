"""Import the patients of a table from an export: pair, copy, and write cohort.csv."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from client.check.finding import listed
from client.check.naming import plain_id
from client.data.cohort import RowProblem, names_scanners, read_rows
from client.data.cohort_file import COLUMN, FRAME_OF_REFERENCE, NOTHING, row_number
from client.imaging.errors import PatientError
from client.imaging.patient import MAIN_READING
from client.importing.copying import IMAGE, MASK, clear_staged, copy_patient, mask_file, staged
from client.importing.deidentify import ROI
from client.importing.mapping import ImportMapping
from client.importing.outcome import Outcome, as_rows
from client.importing.pairing import Images, Pair, images_by_person
from client.importing.pseudonyms import Pseudonyms, same_person
from client.importing.record import IMAGES, ImportRecord, fingerprint_of, patient_folder
from client.importing.survey import Progress, Survey
from client.importing.table import cohort_rows, plain_csv
from common.errors import InputError, StudyError
from common.study.model import Study
from common.utils.csv_file import csv_text
from common.utils.durable import alone, make_folder, write_durably

OUTCOMES = "import.csv"
_IN_COHORT = (
    f"write {FRAME_OF_REFERENCE} into the column {COLUMN} of this patient's row of cohort.csv"
)
_IN_MAPPING = "write the pseudonym into confirmed of import.toml"
_HERE = "."
"""Path that exists wherever cohort.csv is, in place of files that are not copied yet."""


@dataclass(frozen=True)
class Row:
    """Row of the hospital's table; `values` are those of cohort.csv."""

    position: object
    who: str
    values: Mapping[str, str]


@dataclass(frozen=True)
class _Seen:
    """Rows by their identifier, and by the persons of their images; the images' own identifiers."""

    by_key: Mapping[str, Sequence[Row]]
    by_person: Mapping[str, Sequence[Row]]
    by_plain_id: Mapping[str, str]

    @classmethod
    def of(cls, rows: Sequence[Row], images: Mapping[str, Images]) -> _Seen:
        by_key: dict[str, list[Row]] = defaultdict(list)
        by_person: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            key = same_person(row.who)
            by_key[key].append(row)
            for person in images[key].patients - {""} if key in images else ():
                by_person[person].append(row)
        return cls(by_key, by_person, {plain_id(key): key for key in images})


@dataclass(frozen=True)
class Site:
    """Destination of an import, and its pseudonyms."""

    name: str
    data: Path
    study: Study
    names: Pseudonyms


def import_patients(
    site: Site,
    found: Survey,
    frame: pd.DataFrame,
    mapping: ImportMapping,
    progress: Progress | None = None,
) -> list[Outcome]:
    """Copy the patients of a table de-identified, and write cohort.csv and `OUTCOMES`.

    Parameters
    ----------
    found : survey of the export.
    frame : the hospital's table.
    mapping : complete: all columns that the study reads are mapped.

    Raises
    ------
    InputError : a column is not mapped, or not in the table; a cohort.csv of other origin.
    """
    make_folder(site.data)
    if (site.data / "cohort.csv").exists() and not (site.data / OUTCOMES).exists():
        raise InputError(
            "there is a cohort.csv that no import has written",
            where=str(site.data / "cohort.csv"),
            remedy="move it elsewhere, or import into another folder: site.toml names it as data",
        )
    with alone(site.data / ".import.lock"):
        clear_staged(site.data / IMAGES)
        rows = _rows(site, frame, mapping)
        readings = {str(name): rois for name, rois in mapping.readings.items()}
        images = images_by_person(found, mapping.match, mapping.roi, readings)
        settled = dict(_settled(site, rows, images, mapping, progress))
        outcomes = [outcome for outcome, _ in settled.values()]
        outcomes += _without_row(site, rows, images)
        _write_cohort(site, [written for outcome, written in settled.values() if written])
        text = csv_text(as_rows(outcomes))
        write_durably(site.data / OUTCOMES, text.encode())
    return outcomes


def _rows(site: Site, frame: pd.DataFrame, mapping: ImportMapping) -> list[Row]:
    if mapping.id not in frame.columns:
        raise InputError(
            f'the table has no column "{mapping.id}"',
            where="import.toml id",
            remedy=f"use one of {', '.join(map(str, frame.columns))}",
        )
    values = cohort_rows(frame, mapping, site.study)
    ids = zip(frame.index, frame[mapping.id], strict=True)
    return [Row(position, str(cell), values[position]) for position, cell in ids]


def _settled(
    site: Site,
    rows: Sequence[Row],
    images: Mapping[str, Images],
    mapping: ImportMapping,
    progress: Progress | None,
) -> Iterator[tuple[object, tuple[Outcome, dict[str, str]]]]:
    """Yield the outcome of every row by its position, with its row of cohort.csv."""
    record, seen = ImportRecord(site.data), _Seen.of(rows, images)
    for done, row in enumerate(rows, start=1):
        own = images.get(same_person(row.who))
        outcome = _judged(site, row, own, seen)
        written: dict[str, str] = {}
        if outcome is None:
            outcome = _taken(site, row, own, mapping, record)
        if own is None and not outcome.settled:
            near = seen.by_plain_id.get(plain_id(row.who), "")
            hint = f"; the images have {near}: write it so, as text" if near else ""
            outcome = replace(outcome, why=outcome.why + hint)
        if outcome.settled:
            written = _written(site, row, outcome.patient_id, mapping, record)
        yield row.position, (outcome, written)
        if progress is not None:
            progress(done, len(rows), outcome.patient_id)


def _judged(site: Site, row: Row, own: Images | None, seen: _Seen) -> Outcome | None:
    """Return the outcome that table and headers alone decide; None where files decide."""
    made = _outcome(site, row, own)
    if not same_person(row.who):
        remedy = "give every row the identifier"
        return replace(made, status="unusable row", why=f"{_place(row)}: no identifier -> {remedy}")
    twice = seen.by_key[same_person(row.who)]
    if len(twice) > 1:
        where = listed([str(row_number(one.position)) for one in twice])
        return replace(
            made, status="doubled", why=f"rows {where} of the table have this identifier"
        )
    if own is not None and len(own.patients) > 1:
        why = f"an accession number of {len(own.patients)} persons: {listed(sorted(own.patients))}"
        return replace(made, status="doubled", why=f"{why} -> correct it in the archive")
    alike = seen.by_person.get(next(iter(own.patients)), ()) if own else ()
    if len(alike) > 1:
        where = listed([str(row_number(one.position)) for one in alike])
        why = f"rows {where} of the table are one person -> keep one row a person"
        return replace(made, status="doubled", why=why)
    problems = _row_problems(site, row)
    if problems:
        why = "; ".join(f"{one.where}: {one.what} -> {one.remedy}" for one in problems)
        why = why.replace("cohort.csv row", "row").replace("cohort.csv", "the table")
        return replace(made, status="unusable row", why=why)
    return None


def _outcome(site: Site, row: Row, own: Images | None) -> Outcome:
    return Outcome(
        site.names.patient(row.who) if same_person(row.who) else "",
        "no images",
        row.who,
        series=len(own.series) if own else 0,
        contours=len(own.contours) if own else 0,
        burned_in=any(one.burned_in for one in own.series) if own else False,
    )


def _place(row: Row) -> str:
    return f"row {row_number(row.position)}"


def _row_problems(site: Site, row: Row) -> list[RowProblem]:
    """Return what `fedlnm-site check` would find in the row, in the same words."""
    cells = {**row.values, "patient_id": site.names.patient(row.who), "image": _HERE, "mask": _HERE}
    cells.setdefault("scanner", "")
    frame = pd.DataFrame([cells], index=[row.position], dtype=object)
    return read_rows(frame, site.data, site.name, site.study).problems


def _taken(
    site: Site, row: Row, own: Images | None, mapping: ImportMapping, record: ImportRecord
) -> Outcome:
    """Copy a patient whose pair of series and ROI is clear."""
    made = _outcome(site, row, own)
    if not site.study.needs_images:
        return replace(made, status="taken", why="")
    pairs = own.pairs if own else ()
    chosen = mapping.choices.get(made.patient_id)
    if chosen is not None:
        pairs = tuple(pair for pair in pairs if pair.code(site.names) == chosen)
    if len(pairs) > 1:
        return replace(made, status="ambiguous", why=_candidates(pairs, site.names))
    if not pairs:
        if record.is_complete(made.patient_id) and not (own and own.pairs):
            why = "this export has no contours with their series; the copy of an earlier one stays"
            return replace(made, status="taken earlier", why=why)
        return _lacking(made, own, mapping, chosen)
    readings = own.readings if own else {}
    again = {
        reading: [pair for pair in found if pair.series.uid == pairs[0].series.uid]
        for reading, found in readings.items()
    }
    for reading, found in again.items():
        if len(found) > 1:
            why = f"{len(found)} contours fit the reading {reading} -> give one another name"
            return replace(made, status="ambiguous", why=why)
    chosen_pairs = {MAIN_READING: pairs[0], **{r: one[0] for r, one in again.items() if one}}
    confirmed = made.patient_id in mapping.confirmed
    return _copied(site, made, chosen_pairs, record, confirmed=confirmed)


def _candidates(pairs: Sequence[Pair], names: Pseudonyms) -> str:
    series = len({pair.series.uid for pair in pairs})
    fits = f"{series} series fit" if series > 1 else f"{len(pairs)} contours fit"
    shown = "; ".join(
        f'{pair.code(names)} = ROI "{pair.roi_name}" of {pair.contours.stored.path.name}'
        f" ({pair.contours.description}) on the series {pair.series.description}"
        for pair in pairs
    )
    remedy = "write the code of the right one into [choices] of import.toml under this pseudonym"
    return f"{fits}: {shown} -> {remedy}, or the name of the ROI into roi"


def _lacking(
    made: Outcome, own: Images | None, mapping: ImportMapping, chosen: str | None
) -> Outcome:
    """Say why nothing can be taken of a row."""
    if own is None:
        why = "no CT or contour under this identifier -> export the patient, or correct the row"
        return replace(made, status="no images", why=why)
    if own.foreign:
        why = (
            "the contours name a series of another person -> correct the Patient ID in the archive"
        )
        return replace(made, status="other person", why=why)
    if chosen is not None and own.pairs:
        why = f"[choices] of import.toml names {chosen}, which is none of this patient's"
        return replace(made, status="ambiguous", why=why)
    if not own.series:
        why = "contours, but not the CT series that they were drawn on -> export it, too"
        return replace(made, status="no images", why=why)
    if not own.contours:
        why = "a CT, but neither RTSTRUCT nor SEG -> export the contours"
        return replace(made, status="no contour", why=why)
    there = sorted({name for one in own.contours for name in one.rois.values()})
    if mapping.roi and there:
        why = f"no ROI is called {' or '.join(mapping.roi)}: there are {listed(there)}"
        return replace(
            made, status="no contour", why=f"{why} -> add its name to roi in import.toml"
        )
    why = "contours of another series than those of the export -> export the one they were drawn on"
    return replace(made, status="no contour", why=why)


def _copied(
    site: Site, made: Outcome, pairs: Mapping[str, Pair], record: ImportRecord, *, confirmed: bool
) -> Outcome:
    """Copy a patient, unless the copy is there already."""
    fingerprint = fingerprint_of(pairs, site.study, site.names)
    if record.is_current(made.patient_id, fingerprint):
        return replace(made, status="unchanged", why="")
    by_frame = any(pair.by_frame for pair in pairs.values())
    why = "by the frame of reference alone: the contours name no series" if by_frame else ""
    try:
        with staged(patient_folder(site.data, made.patient_id)) as folder:
            done = copy_patient(
                *(pairs, made.patient_id, site.names, site.study, folder),
                confirmed=frozenset({FRAME_OF_REFERENCE}) if confirmed else NOTHING,
            )
    except PatientError as error:
        remedy = error.remedy.replace(_IN_COHORT, _IN_MAPPING)
        where = f"{error.where}: " if "/" in error.where else ""
        return replace(made, status="unusable images", why=f"{where}{error.what} -> {remedy}")
    except (StudyError, OSError):
        raise
    except Exception as error:
        # one patient never stops the others, whatever a library raises on a file
        why = f"could not be processed: {type(error).__name__} -> export the patient again"
        return replace(made, status="unusable images", why=why)
    record.add(made.patient_id, fingerprint, done.scanner)
    return replace(made, status="taken", why=why)


def _written(
    site: Site, row: Row, pseudonym: str, mapping: ImportMapping, record: ImportRecord
) -> dict[str, str]:
    """Return a patient's row of cohort.csv."""
    cells = {"patient_id": pseudonym, **row.values}
    if site.study.needs_images:
        folder = patient_folder(Path(), pseudonym)
        cells |= {"image": str(folder / IMAGE), "mask": f"{folder / MASK}#{ROI}"}
        for reading in mapping.readings:
            file = folder / mask_file(reading)
            there = (site.data / file).is_file()
            cells[f"mask_{reading}"] = f"{file}#{ROI}" if there else ""
        if mapping.confirmed:
            cells[COLUMN] = FRAME_OF_REFERENCE if pseudonym in mapping.confirmed else ""
        if names_scanners(site.study) and "scanner" not in cells:
            cells["scanner"] = record.scanner(pseudonym)
    return cells


def _without_row(
    site: Site, rows: Sequence[Row], images: Mapping[str, Images]
) -> Iterator[Outcome]:
    """Yield the persons, or examinations, that the table does not name."""
    named = {same_person(row.who) for row in rows}
    for key, own in images.items():
        if key not in named:
            yield Outcome(
                site.names.patient(key),
                "no row",
                key,
                "images without a row in the table -> add the row, unless it is no patient of the"
                " study",
                len(own.series),
                len(own.contours),
                any(one.burned_in for one in own.series),
            )


def _write_cohort(site: Site, rows: Sequence[Mapping[str, str]]) -> None:
    """Write cohort.csv; none without a patient."""
    if not rows:
        (site.data / "cohort.csv").unlink(missing_ok=True)
        return
    names = list(rows[0])
    text = plain_csv([names, *([row[name] for name in names] for row in rows)])
    write_durably(site.data / "cohort.csv", text.encode())


def doubled_accessions(found: Survey) -> dict[str, frozenset[str]]:
    """Return the accession numbers under which the export has several persons."""
    persons: dict[str, set[str]] = defaultdict(set)
    for own in found.series.values():
        for one in own.slices:
            persons[one.accession].add(one.patient)
    for contours in found.contours:
        persons[contours.stored.accession].add(contours.stored.patient)
    return {number: frozenset(who) for number, who in persons.items() if number and len(who) > 1}


def find_person(frame: pd.DataFrame, column: str, pseudonym: str, names: Pseudonyms) -> list[str]:
    """Return the identifiers of the table that a pseudonym stands for: one, or none."""
    cells = Counter(str(cell) for cell in frame[column])
    return [cell for cell in cells if same_person(cell) and names.patient(cell) == pseudonym]
