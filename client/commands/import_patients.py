"""`fedlnm-site import`: a hospital's patients from an export of its archive."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from client.commands.archive import (
    AccessionOption,
    AuthorityOption,
    CertificateOption,
    CredentialsOption,
    DicomwebOption,
    EchoOption,
    ForgetOption,
    ListenOption,
    OwnTitleOption,
    PacsOption,
    PatienceOption,
    PatientOption,
    TlsOption,
    check_one_source,
    echo_archive,
    fetched,
    forget_retrieved,
)
from common.errors import InputError, UsageError
from common.utils.console import ProgressBar, consoles
from common.utils.text_file import as_word

if TYPE_CHECKING:
    from client.importing.archive_options import ArchiveOptions
    from client.importing.survey import Survey
    from client.site import SiteSettings

console, screen = consoles()


Source = Annotated[
    Path | None, typer.Option("--from", help="folder of DICOM files, as the archive exports them")
]
Table = Annotated[Path | None, typer.Option(help="the hospital's own table, .csv or .xlsx")]
MappingFile = Annotated[
    Path | None,
    typer.Option(help="which column is which [default: import.toml in the site's folder]"),
]
Who = Annotated[
    str, typer.Option(help="a pseudonym: show whom of the table it stands for, nothing else")
]


def import_patients(
    site: Annotated[Path, typer.Argument(help="folder of the site, with site.toml")],
    source: Source = None,
    table: Table = None,
    study: Annotated[Path | None, typer.Option(help="study.toml")] = None,
    mapping: MappingFile = None,
    who: Who = "",
    yes: Annotated[bool, typer.Option("--yes", help="do not ask (for scripts)")] = False,
    pacs: PacsOption = "",
    dicomweb: DicomwebOption = "",
    accession: AccessionOption = "",
    patient: PatientOption = "",
    own_title: OwnTitleOption = "",
    listen: ListenOption = 0,
    tls: TlsOption = False,
    authority: AuthorityOption = None,
    certificate: CertificateOption = None,
    credentials: CredentialsOption = None,
    patience: PatienceOption = 300.0,
    echo: EchoOption = False,
    forget: ForgetOption = False,
) -> None:
    """Import patients, de-identified, from an export of the archive and the hospital's own table.

    Finds for each row of the table the contours (RTSTRUCT or SEG) and the CT series that they were
    drawn on, copies both into the site's folder without names, numbers, dates and UIDs of persons,
    and writes cohort.csv (what pixels show near the contour stays). Questions about the table are
    asked once; the answers go into import.toml. A second import does only what is new or changed.
    Without --table it shows what the export holds. With --pacs or --dicomweb images are fetched,
    and removed at the end; an interrupted import keeps them, and goes on if it is repeated.

    Exit code 0: every row was taken. 1: at least one was not, for the reason that the table on the
    screen says, a file is damaged, or not all came from the archive.
    """
    from client.check.runner import site_of
    from client.importing.archive_options import ArchiveOptions

    settings = site_of(site)
    mapping = mapping or (site.parent if site.is_file() else site) / _MAPPING
    if who:
        _show_person(settings, table, mapping, who)
        return
    if forget:
        forget_retrieved(settings)
        return
    options = ArchiveOptions(
        pacs, dicomweb, accession, patient, own_title, listen, tls,
        authority, certificate, credentials, patience,
    )  # fmt: skip
    if echo:
        echo_archive(options)
        return
    check_one_source(source, options)
    if table is not None and study is None:
        raise UsageError("no study", where="--study", remedy="name study.toml")
    with _export(settings, source, options, table, mapping) as (folder, whole):
        found = _surveyed(folder)
        if table is not None and study is not None:
            whole = _import(settings, found, table, study, mapping, yes=yes) and whole
    raise typer.Exit(0 if whole and not found.broken else 1)


_MAPPING = "import.toml"


@contextmanager
def _export(
    settings: SiteSettings,
    source: Path | None,
    options: ArchiveOptions,
    table: Path | None,
    mapping: Path,
) -> Iterator[tuple[Path, bool]]:
    """Yield the folder of the export, fetched where none was given, and whether it is whole."""
    from client.importing.mapping import read_mapping

    if source is not None:
        yield source, True
        return
    with fetched(settings, options, table, read_mapping(mapping).sheet) as found:
        yield found


def _surveyed(source: Path) -> Survey:
    """Read the export's headers, and show what it holds."""
    from client.importing.importer import doubled_accessions
    from client.importing.survey import survey_export

    if not source.is_dir():
        raise InputError("no such folder", where=str(source), remedy="correct the path")
    with ProgressBar(screen) as progress:
        found = survey_export(source, progress)
    console.emit(
        f"{len(found.patients)} patients, {len(found.series)} CT series,"
        f" {len(found.contours)} files of contours"
    )
    for kind, count in sorted(found.others.items()):
        console.emit(f"not used: {count} x {kind}")
    if found.copies:
        console.emit(f"not used: {found.copies} x copy of another file")
    for one in found.broken:
        console.emit(f"damaged: {one.path.relative_to(source)}: {one.what}")
    for number, persons in sorted(doubled_accessions(found).items()):
        console.emit(f"doubled accession number {number}: {', '.join(sorted(persons))}")
    return found


def _import(
    settings: SiteSettings, found: Survey, table: Path, study: Path, mapping: Path, *, yes: bool
) -> bool:
    """Import, show the table, and return whether every row was taken."""
    from client.importing.asking import completed
    from client.importing.importer import OUTCOMES, Site, import_patients
    from client.importing.mapping import read_mapping, write_mapping
    from client.importing.outcome import as_table, counted
    from client.importing.pseudonyms import Pseudonyms, load_secret
    from client.importing.table import read_hospital_table
    from common.study.model import load_study

    asked, known = load_study(study), read_mapping(mapping)
    frame = read_hospital_table(table, known.sheet)
    if not yes:
        answered = completed(known, frame, found, asked, _ask)
        if answered != known:
            write_mapping(mapping, answered)
            console.emit(f"kept for the next time: {mapping}")
        known = answered
    names = Pseudonyms(load_secret(settings.identity.parent))
    site = Site(settings.name, settings.data, asked, names)
    with ProgressBar(screen) as progress:
        outcomes = import_patients(site, found, frame, known, progress)
    console.print(as_table(outcomes))
    console.emit(counted(outcomes))
    console.emit(f"the same without names: {settings.data / OUTCOMES}")
    if any(one.settled for one in outcomes):
        console.emit(f"next: fedlnm-site check {as_word(mapping.parent)} --study {as_word(study)}")
    return all(one.settled for one in outcomes)


def _ask(question: str, answers: Sequence[str], likely: str) -> str:
    """Ask until the answer is one of those that are possible."""
    screen.emit(f"one of: {', '.join(answers)}")
    while True:
        said = str(typer.prompt(question, default=likely or None, err=True)).strip()
        if said in answers:
            return said
        screen.emit(f'"{said}" is none of them')


def _show_person(settings: SiteSettings, table: Path | None, mapping: Path, who: str) -> None:
    from client.importing.importer import find_person
    from client.importing.mapping import read_mapping
    from client.importing.pseudonyms import Pseudonyms, load_secret
    from client.importing.table import read_hospital_table

    if table is None:
        remedy = "name the hospital's table: no list of pseudonyms is kept"
        raise UsageError("no table", where="--table", remedy=remedy)
    known = read_mapping(mapping)
    frame = read_hospital_table(table, known.sheet)
    if known.id not in frame.columns:
        raise InputError("says no column of ids", where=str(mapping), remedy="import first")
    names = Pseudonyms(load_secret(settings.identity.parent))
    persons = find_person(frame, known.id, who, names)
    for person in persons:
        sys.stdout.write(f"{person}\n")
    if not persons:
        raise InputError("stands for nobody in this table", where=who, remedy="name its table")
