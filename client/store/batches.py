"""Effects of a hospital's own batches, kept beside a run for predictions; they never leave it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from common.errors import InputError
from common.learning.combat import NEVER_SEEN, BatchEffects
from common.messages.conforming import conform
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
    """Return what a hospital kept for these models, in any run in its work folder; None without.

    Raises
    ------
    InputError : a file that cannot be read, and may be the one.
    """
    for path in sorted((work / "runs").glob(f"*/{FILE}")):
        found, made_for = _read(path)
        if made_for == bundle:
            return found
    return None


def read_batches(path: Path, bundle: str) -> KeptBatches:
    """Return what a hospital kept for these models.

    Raises
    ------
    InputError : no such file, not such a file, or one for other models.
    """
    if not path.is_file():
        raise InputError("no such file", where=path.name, remedy="correct --batches")
    found, made_for = _read(path)
    if made_for != bundle:
        raise InputError(
            "these are the batches of other models than the bundle's",
            where=path.name,
            remedy=f"give the {FILE} of the run that made the bundle",
        )
    return found


def _read(path: Path) -> tuple[KeptBatches, str]:
    """Return what a file holds, and the digest of the bundle that it was made for."""
    from safetensors import SafetensorError

    try:
        found, made_for = read_plain(path), read_notes(path)
        conform(found, KeptBatches, FILE, {})
        if all(map(_is_whole, found.effects.values())):
            return found, made_for
    except (ValueError, KeyError, TypeError, RecursionError, SafetensorError):
        pass
    raise InputError(
        f"not a file {FILE}, or damaged",
        where=str(path),
        remedy="restore the site's work folder from its backup",
    )


def _is_whole(one: BatchEffects) -> bool:
    """Return whether every code leads to a batch, and every batch has finite effects."""
    if one.joined.ndim != 1 or one.shift.ndim != 2 or one.shift.shape != one.factor.shape:
        return False
    known = (one.joined >= NEVER_SEEN) & (one.joined < len(one.shift))
    return bool(known.all() and np.isfinite([one.shift, one.factor]).all())
