"""fedlnm-site: command line of a hospital."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from client.commands.approve import approve
from client.commands.backup import backup, restore
from client.commands.check import check
from client.commands.doctor import doctor
from client.commands.import_patients import import_patients
from client.commands.init import init
from client.commands.leave import confirm, leave
from client.commands.ledger import ledger
from client.commands.predict import predict
from client.commands.report import report
from client.commands.run import run
from client.commands.status import status
from client.commands.validate import validate
from client.commands.watching import notify
from client.imaging.radiomics import Engine
from common.utils.command_line import program
from common.utils.console import consoles
from common.utils.processes import run_program, write_for_this_user_alone

app = program(
    "A hospital's part: join a coordinator, check data, approve studies, take part, predict."
)
app.add_typer(ledger, name="ledger")
for command in (
    init,
    check,
    approve,
    run,
    status,
    doctor,
    notify,
    backup,
    restore,
    leave,
    confirm,
    predict,
    validate,
    report,
):
    app.command()(command)
app.command("import")(import_patients)
console, screen = consoles()


@app.command()
def radiomics(
    image: Annotated[Path, typer.Argument(help="CT volume or DICOM folder")],
    mask: Annotated[Path, typer.Argument(help="contour as a mask volume")],
    out: Annotated[Path, typer.Option(help="CSV file to write")],
    settings: Annotated[str, typer.Option(help="settings file of this release")] = "radiomics-1834",
    expected: Annotated[int, typer.Option(help="number of features it must give")] = 1834,
    confirmed: Annotated[
        str, typer.Option(help="frame_of_reference: you have looked, and the contour lies right")
    ] = "",
    engine: Annotated[
        Engine,
        typer.Option(help="pyradiomics = with the untouched library, up to twenty times slower"),
    ] = "fast",
) -> None:
    """Extract the radiomics features of one ROI."""
    from client.data.cohort_file import confirmed_words
    from client.imaging.radiomics.extraction import extract, to_csv

    words = confirmed_words(confirmed, "--confirmed")
    screen.print(f"extracting {expected} features (seconds to minutes)", highlight=False)
    names, values = extract(image, mask, settings, expected, confirmed=words, engine=engine)
    to_csv(out, names, values)
    console.print(f"{len(names)} features written to {out}", highlight=False)


def main() -> None:
    """Run the program; exit with 0 done, 1 a finding or refusal, 2 wrong usage."""
    write_for_this_user_alone()
    logging.getLogger("fedlnm.site").addHandler(logging.NullHandler())
    run_program(lambda: app(prog_name="fedlnm-site"))
