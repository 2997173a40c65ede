"""Options of the commands that ask an archive: which, how, and for which numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from client.importing.archive import WORDS, Archive, By, checked_numbers, read_numbers
from common.errors import InputError, UsageError


@dataclass(frozen=True)
class ArchiveOptions:
    """Options as they were written on the command line.

    Parameters
    ----------
    pacs : TITLE@HOST:PORT; empty = none.
    dicomweb : URL; empty = none.
    accession, patient : file with a number a line, or column of the hospital's table.
    own_title, listen, tls, certificate : as `client.importing.pacs.Peer` has them.
    credentials : file with USER:PASSWORD or Bearer TOKEN, for DICOMweb.
    """

    pacs: str = ""
    dicomweb: str = ""
    accession: str = ""
    patient: str = ""
    own_title: str = ""
    listen: int = 0
    tls: bool = False
    authority: Path | None = None
    certificate: Path | None = None
    credentials: Path | None = None
    patience: float = 300.0

    @property
    def wanted(self) -> bool:
        """True if an archive is to be asked."""
        return bool(self.pacs or self.dicomweb)

    @property
    def by(self) -> By:
        """Return what the numbers are."""
        return "accession" if self.accession else "patient"


def open_archive(options: ArchiveOptions) -> Archive:
    """Return the archive that is meant; nothing is sent yet.

    Raises
    ------
    InputError, UsageError : the options do not go together, or one of them cannot be used.
    """
    if not options.wanted:
        raise UsageError("no archive is named", where="--pacs", remedy="or use --dicomweb")
    if options.pacs and options.dicomweb:
        raise UsageError("two archives are named", where="--pacs", remedy="name one of the two")
    if options.authority is not None and not options.authority.is_file():
        raise InputError("no such file", where=str(options.authority), remedy="correct --ca")
    if options.dicomweb:
        from client.importing.dicomweb import DicomWeb, make_endpoint

        given = (options.credentials, options.authority, options.patience)
        return DicomWeb(make_endpoint(options.dicomweb, *given))
    from client.importing.pacs import OWN_TITLE, Pacs, Peer, check_title, parse_peer

    if options.listen and options.tls and options.certificate is None:
        raise UsageError(
            "an archive that sends to this machine (--listen) with --tls asks for its certificate",
            where="--certificate",
            remedy="name a PEM file with key and certificate of this machine",
        )
    own = check_title(options.own_title or OWN_TITLE)
    return Pacs(
        Peer(
            *parse_peer(options.pacs),
            own=own,
            listen=options.listen,
            tls=options.tls,
            authority=options.authority,
            certificate=options.certificate,
            patience=options.patience,
        )
    )


def numbers_of(options: ArchiveOptions, frame: pd.DataFrame | None) -> list[str]:
    """Return the numbers to ask for.

    Parameters
    ----------
    frame : the hospital's table, None where none was named.

    Raises
    ------
    InputError, UsageError : none are named, or they are none.
    """
    if bool(options.accession) == bool(options.patient):
        raise UsageError(
            "an archive is asked by accession number or by patient ID, one of them and not both",
            where="--accession",
            remedy="name a file with one a line, or a column of --table, for one of the two",
        )
    by, given = options.by, options.accession or options.patient
    if Path(given).is_file():
        return read_numbers(Path(given), by)
    if frame is None or given not in frame.columns:
        named = ", ".join(map(str, frame.columns)) if frame is not None else "no --table is named"
        raise InputError(
            f"neither a file nor a column of the table ({named})",
            where=f"--{by} {given}",
            remedy=f"name a file with one {WORDS[by]} a line, or a column of --table",
        )
    return checked_numbers([str(cell) for cell in frame[given].dropna()], by, f"column {given}")
