"""One of the two runs, as read from its folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import InputError, StudyError
from common.study.model import load_study
from server.report.performance_records import Performance
from server.report.reading import main_run
from server.report.results import read
from server.report.schema import Results

KEYS_OF_SITES = "public_key"  # each deployment has its own; they change no result


@dataclass(frozen=True)
class ComparedRun:
    """A run to compare.

    Parameters
    ----------
    name : of its folder.
    results : its results.json.
    settings : of its study, `training.rounds` = value; empty where there is no study.toml.
    note : why there are no settings.
    """

    name: str
    results: Results
    settings: Mapping[str, str]
    note: str = ""

    @property
    def run(self) -> str:
        """The run that is compared: the federated one where there is one."""
        return main_run(self.results)

    @property
    def performance(self) -> dict[tuple[str, str], Performance]:
        """Performance of the compared run by set and model."""
        rows = self.results.performance
        return {(row.set, row.model): row for row in rows if row.run == self.run}


def read_run(folder: Path) -> ComparedRun:
    """Read a finished run.

    Raises
    ------
    InputError : it has no results.json, or not one of this schema.
    """
    if not (folder / "results.json").is_file():
        raise InputError(
            "no results.json here",
            where=str(folder),
            remedy="give two folders of finished runs",
        )
    results = read(folder / "results.json")
    settings, note = _settings(folder)
    return ComparedRun(folder.resolve().name, results, settings, note)


def _settings(folder: Path) -> tuple[dict[str, str], str]:
    for path in (folder / "input" / "study.toml", folder / "study.toml"):
        if path.is_file():
            try:
                study = load_study(path)
            except StudyError as error:  # of another release: the results can still be compared
                return {}, f"its study.toml cannot be read by this release: {error.what}"
            return dict(_flat("", study.model_dump(mode="json"))), ""
    return {}, "it has no study.toml"


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Return every setting by full name; entries of lists by their own name, not their place."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key != KEYS_OF_SITES:
                yield from _flat(f"{name}.{key}" if name else key, inner)
    elif isinstance(value, list) and value and all(_is_named(one) for one in value):
        for one in value:
            inner = {key: part for key, part in one.items() if key != "name"}
            yield f"{name}.{one['name']}", "given"
            yield from _flat(f"{name}.{one['name']}", inner)
    else:
        yield name, _written(value)


def _is_named(value: Any) -> bool:
    return isinstance(value, Mapping) and "name" in value


def _written(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_written, value)) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "not set"}[value]
    return str(value) or "empty"
