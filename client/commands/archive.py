"""Options and steps of `fedlnm-site import` that fetch from an archive instead of a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from common.errors import UsageError
from common.utils.console import ProgressBar, consoles

if TYPE_CHECKING:
    from client.importing.archive_options import ArchiveOptions
    from client.site import SiteSettings

console, screen = consoles()
_PANEL = "From the archive (PACS), instead of --from"


def _option(words: str, *names: str, **more: object) -> object:
    return typer.Option(*names, help=words, rich_help_panel=_PANEL, **more)  # type: ignore[call-overload]


PacsOption = Annotated[str, _option("TITLE@HOST:PORT of the archive, for DIMSE")]
DicomwebOption = Annotated[str, _option("URL of its DICOMweb service")]
AccessionOption = Annotated[
    str, _option("accession numbers to fetch: a file with one a line, or a column of --table")
]
PatientOption = Annotated[str, _option("the same with patient IDs")]
OwnTitleOption = Annotated[str, _option("AE title of this machine [default: FEDLNM]")]
ListenOption = Annotated[
    int, _option("fetch by C-MOVE to this port of this machine", min=0, max=65535)
]
TlsOption = Annotated[bool, _option("DIMSE over TLS", "--tls")]
AuthorityOption = Annotated[
    Path | None, _option("PEM file of the authority whose certificates are trusted", "--ca")
]
CertificateOption = Annotated[
    Path | None, _option("PEM file with key and certificate of this machine")
]
CredentialsOption = Annotated[
    Path | None, _option("file with USER:PASSWORD or Bearer TOKEN, for DICOMweb")
]
PatienceOption = Annotated[float, _option("seconds that the archive may be silent", min=1.0)]
EchoOption = Annotated[bool, _option("ask only whether it answers (C-ECHO)", "--echo")]
ForgetOption = Annotated[
    bool, _option("only remove what an interrupted import has retrieved", "--forget")
]


def echo_archive(options: ArchiveOptions) -> None:
    """Say that the archive answers, and what it offers."""
    from client.importing.archive_options import open_archive

    console.emit(open_archive(options).echo())


def forget_retrieved(settings: SiteSettings) -> None:
    """Remove what an interrupted import has left."""
    from client.importing.archive import empty_spool, spool

    with spool(settings.work) as folder:
        console.emit(f"removed: {empty_spool(folder)} files")


@contextmanager
def fetched(
    settings: SiteSettings, options: ArchiveOptions, table: Path | None, sheet: str
) -> Iterator[tuple[Path, bool]]:
    """Fetch what is asked for; yield its folder, and whether all came.

    The folder is gone after the block, unless the import was interrupted or a series is not whole:
    the next import goes on from there.

    Parameters
    ----------
    table, sheet : the hospital's own table, where the numbers are a column of it.
    """
    from client.importing.archive import empty_spool, retrieve, spool
    from client.importing.archive_options import numbers_of, open_archive
    from client.importing.table import read_hospital_table

    frame = read_hospital_table(table, sheet) if table is not None else None
    archive = open_archive(options)
    numbers = numbers_of(options, frame)
    with spool(settings.work) as folder:
        try:
            with ProgressBar(screen) as progress:
                done = retrieve(archive, options.by, numbers, folder, progress)
            for line in done.lines(options.by):
                console.emit(line)
            yield folder, done.is_whole
            if not done.incomplete:
                empty_spool(folder)
        finally:
            if any(folder.iterdir()):
                screen.emit(
                    f"kept for the next import, with names: {folder}; the same command goes on from"
                    " there, and --forget removes it"
                )


def check_one_source(source: Path | None, options: ArchiveOptions) -> None:
    """Return if the images come from one place.

    Raises
    ------
    UsageError : from none, or from two.
    """
    if (source is None) != options.wanted:
        remedy = "name a folder of DICOM files with --from, or an archive with --pacs or --dicomweb"
        what = "nothing to import" if source is None else "images from two places"
        raise UsageError(what, where="--from", remedy=remedy)
