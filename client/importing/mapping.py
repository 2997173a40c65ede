"""import.toml: which column of a hospital's table is which, asked once and kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import tomli_w
from pydantic import ValidationError

from client.importing.pairing import Match
from common.errors import InputError
from common.study.block import Settings, explain
from common.utils.bounded import parse_toml
from common.utils.durable import write_durably
from common.utils.text_file import read_written

FILE = "import.toml"
_HEAD = """\
# How fedlnm-site import reads this hospital's own table (docs/import.md).
# Never write the name or number of a person into it.

"""


class ImportMapping(Settings):
    """Columns and codes of a hospital's table.

    Parameters
    ----------
    id : column of the table that identifies a person or an examination.
    match : element of the images that it equals.
    sheet : of a workbook; the first one unless given.
    roi : accepted names of the ROI, the most wanted first; empty accepts the only one there is.
    readings : names of the ROI of repeated readings, by their name in cohort.csv without "mask_".
    columns : column of the table, by the study's name for it.
    constants : value of all rows, by the study's name of a column.
    codes : the study's value for each code of the table, by the study's name of a column.
    confirmed : pseudonyms whose contours lie in another frame of reference than their series, and
        right all the same: somebody has looked.
    choices : code of the series and contour that is meant, by pseudonym.
    """

    id: str = ""
    match: Match = "PatientID"
    sheet: str = ""
    roi: tuple[str, ...] = ()
    readings: Mapping[Literal["r1_repeat", "r2", "r2_repeat"], tuple[str, ...]] = {}
    columns: Mapping[str, str] = {}
    constants: Mapping[str, str] = {}
    codes: Mapping[str, Mapping[str, str]] = {}
    confirmed: tuple[str, ...] = ()
    choices: Mapping[str, str] = {}


def read_mapping(path: Path) -> ImportMapping:
    """Read import.toml; an empty mapping where there is none yet.

    Raises
    ------
    InputError : not TOML, or a key or value that does not validate.
    """
    if not path.exists():
        return ImportMapping()
    try:
        return ImportMapping.model_validate(parse_toml(read_written(path), str(path)))
    except ValidationError as error:
        made = explain(error, where=str(path), model=ImportMapping)
        raise InputError(made.what, where=made.where, remedy="see docs/import.md") from None


def write_mapping(path: Path, mapping: ImportMapping) -> None:
    """Write import.toml."""
    said = {key: value for key, value in mapping.model_dump().items() if value}
    write_durably(path, (_HEAD + tomli_w.dumps(said)).encode())
