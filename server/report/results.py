"""results.json: all that a run found, with nothing about any single patient.

The page, the tables and the figures read only this. Keys that the schema does not know are refused,
so that no other data can ride along.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from common.errors import InputError
from common.study.block import explain
from common.utils.bounded import MOST_JSON, parse_json, read_bytes
from server.report.schema import SCHEMA, Results


def parse(tree: Any, *, where: str = "results.json") -> Results:
    """Validate a dictionary as read from JSON or made by a run.

    Raises
    ------
    InputError : another schema number, an unknown or missing key, a value that cannot be.
    """
    found = tree.get("schema") if isinstance(tree, dict) else None
    if found != SCHEMA:
        raise InputError(
            f"schema {found!r}, but this release reads schema {SCHEMA}",
            where=where,
            remedy="use the release that wrote the file (see its software block)",
        )
    try:
        return Results.model_validate(tree)
    except ValidationError as error:
        findings = explain(error, where=where, model=Results)
        what = findings.what.replace("schema_number", "schema")
        raise InputError(what, where=where, remedy="see docs/results.md") from None


def to_json(results: Results) -> str:
    """Return JSON text: keys in the order of the schema, a row a line, floats that round-trip."""
    blocks = [
        f"  {json.dumps(key)}: {_block(value)}"
        for key, value in results.model_dump(mode="json").items()
    ]
    return "{\n" + ",\n".join(blocks) + "\n}\n"


def _block(value: Any) -> str:
    if isinstance(value, list) and value:
        return "[\n    " + ",\n    ".join(_line(row) for row in value) + "\n  ]"
    if isinstance(value, dict) and value:
        rows = (f"{json.dumps(key)}: {_line(row)}" for key, row in value.items())
        return "{\n    " + ",\n    ".join(rows) + "\n  }"
    return _line(value)


def _line(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)


def write(results: Results, path: Path) -> None:
    """Write results.json; an interrupted write leaves the former file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    draft.write_text(to_json(results), encoding="utf-8")
    draft.replace(path)


def read(path: Path) -> Results:
    """Read and validate results.json.

    Raises
    ------
    InputError : no such file, not JSON, or not schema 1.
    """
    if not path.is_file():
        raise InputError("no such file", where=str(path), remedy="give the path of a results.json")
    try:
        tree = parse_json(read_bytes(path, MOST_JSON))
    except ValueError as error:
        raise InputError(f"not valid JSON: {error}", where=str(path)) from None
    return parse(tree, where=str(path))
