"""`fedlnm-site import`: a hospital's patients from an export of its archive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.utils.console import ProgressBar, consoles

console, screen = consoles()


def import_patients(
    source: Annotated[
        Path, typer.Option("--from", help="folder of DICOM files, as the archive exports them")
    ],
) -> None:
    """Survey an export of the archive: its CT series, contours, and damaged files.

    Exit code 0: every file could be read. 1: at least one is damaged.
    """
    from client.importing.survey import survey_export

    with ProgressBar(screen) as progress:
        found = survey_export(source, progress)
    console.emit(
        f"{len(found.patients)} patients, {len(found.series)} CT series,"
        f" {len(found.contours)} files of contours"
    )
    for kind, count in sorted(found.others.items()):
        console.emit(f"not used: {count} x {kind}")
    for one in found.broken:
        console.emit(f"damaged: {one.path.relative_to(source)}: {one.what}")
    raise typer.Exit(1 if found.broken else 0)
