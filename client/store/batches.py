"""Effects of a hospital's own batches, kept beside a run for predictions; they never leave it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from common.errors import InputError
from common.learning.combat import BatchEffects
from common.messages.plain import plain, read_notes, read_plain, write_plain
from common.transforms.harmonise import harmonising_steps
from common.transforms.views import AtSite, Table, TableReader, View

FILE = "batches.safetensors"


@plain
class KeptBatches:
    """Effects of the batches of one hospital under the final models of a study.

    Parameters
    ----------
    scanners : names of the scanners by code; one empty name where the study names none.
    effects : by base table.
    """

    scanners: tuple[str, ...]
    effects: dict[str, BatchEffects]


def keep_batches(
    folder: Path,
    tables: TableReader,
    scanners: tuple[str, ...],
    models: Mapping[str, View],
    bundle: str,
) -> None:
    """Write the effects of the training patients' batches; nothing where nothing is harmonised.

    Parameters
    ----------
    folder : of the run, at the hospital.
    bundle : digest of the models.
    """
    effects: dict[str, BatchEffects] = {}
    for model in models.values():
        for before, step in harmonising_steps(model):
            if not isinstance(before.source, Table) or before.source.name in effects:
                continue
            found = step.effects_at(AtSite(before, tables, "train"))
            if found is not None:
                effects[before.source.name] = found
    if effects:
        write_plain(folder / FILE, KeptBatches(scanners, effects), notes=bundle)


def find_batches(work: Path, bundle: str) -> KeptBatches | None:
    """Return what a hospital kept for these models, in any run in its work folder; None without."""
    for path in sorted((work / "runs").glob(f"*/{FILE}")):
        if read_notes(path) == bundle:
            return _read(path)
    return None


def read_batches(path: Path, bundle: str) -> KeptBatches:
    """Return what a hospital kept for these models.

    Raises
    ------
    InputError : no such file, not such a file, or one for other models.
    """
    if not path.is_file():
        raise InputError("no such file", where=path.name, remedy="correct --batches")
    found = _read(path)
    if read_notes(path) != bundle:
        raise InputError(
            "these are the batches of other models than the bundle's",
            where=path.name,
            remedy=f"give the {FILE} of the run that made the bundle",
        )
    return found


def _read(path: Path) -> KeptBatches:
    from safetensors import SafetensorError

    try:
        found = read_plain(path)
    except (ValueError, KeyError, TypeError, SafetensorError):
        found = None
    if not isinstance(found, KeptBatches):
        raise InputError(
            f"not a file {FILE}", where=path.name, remedy="take it from the work folder of the site"
        )
    return found
