"""Selected features of test patients, kept at the site for its own report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from client.store.run_files import RunTables, StoredTable
from common.study.model import Study
from common.transforms import KernelMap, Linear
from common.transforms.views import TableReader, View, materialise


def selected_table(model: str) -> str:
    """Name the table of the features that a base model selected."""
    return f"selected/{model}"


def keep_selected(
    run: RunTables,
    tables: TableReader,
    study: Study,
    models: Mapping[str, View],
    subset: str,
    patients: tuple[str, ...],
    made_by: str,
) -> None:
    """Write the features that enter each machine on a model's own features, for `site report`.

    Parameters
    ----------
    models : final models of the bundle.
    made_by : digest of the bundle.
    """
    for name, view in _machines(study, models):
        rows = materialise(view, tables, subset)
        run.write(
            selected_table(name), subset, StoredTable(patients, rows.columns, rows.values, made_by)
        )


def _machines(study: Study, models: Mapping[str, View]) -> Iterator[tuple[str, View]]:
    """Yield each base model that is a machine, with the view of what enters it."""
    for name in study.base_models:
        if name not in models or not study.fits_machine(name):
            continue
        steps = models[name].transforms
        place = next((i for i, s in enumerate(steps) if isinstance(s, Linear | KernelMap)), 0)
        if place:
            yield name, View(source=models[name].source, transforms=steps[:place])
