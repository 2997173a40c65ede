"""The site's page: made from what the run left at the hospital, readable by its owner alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from client.data.cohort import Patient
from client.report.blocks import blocks_of
from client.report.curves import SiteCurve, curves_of
from client.report.figures import heatmap_of, map_of, model_title, roc_of
from client.report.outliers import measure_all, outliers
from client.report.patients import rows_of
from client.report.source import SiteRun
from client.report.template import PAGE
from client.workspace import Progress
from common.html.drawing import Drawing, inline
from common.html.labels import MODEL_LABELS
from common.html.style import STYLE
from common.utils.durable import make_folder, write_durably

Shown = tuple[str, str, Markup]


def write_page(run: SiteRun, folder: Path, progress: Progress | None = None) -> Path:
    """Write `index.html` with mode 0600 into a folder that its owner alone may enter; its path."""
    make_folder(folder)
    path = folder / "index.html"
    write_durably(path, render(run, progress).encode())
    return path


def render(run: SiteRun, progress: Progress | None = None) -> str:
    """The page as text."""
    environment = Environment(
        loader=DictLoader({"page.html": PAGE, "page.css": STYLE}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    blocks = blocks_of(run)
    curves, without = curves_of(run)
    measured = measure_all(_all_patients(run), progress) if run.study.needs_images else {}
    return environment.get_template("page.html").render(
        site=run.settings.name,
        study=run.study.name,
        run=run.name,
        endpoint=run.study.endpoint,
        counts=_counts(run),
        excluded=run.excluded,
        confirmed=run.confirmed,
        measured=len(measured),
        outliers=outliers(measured),
        curves=_by_set(curves),
        without=without,
        maps=_shown([map_of(block) for block in blocks]),
        heatmaps=_shown([heatmap_of(block) for block in blocks]),
        gaps=[
            f"{block.title}: {100 * block.gaps:.1f} % of the values were missing; the feature's"
            " median stands in."
            for block in blocks
            if block.gaps
        ],
        patients=[(_title(subset), rows_of(run, subset)) for subset in run.subsets],
        labels=MODEL_LABELS,
    )


def _all_patients(run: SiteRun) -> list[Patient]:
    found = {p.patient_id: p for subset in run.subsets for p in run.patients(subset)}
    return list(found.values())


def _counts(run: SiteRun) -> str:
    parts = []
    for subset in run.subsets:
        patients = run.patients(subset)
        positives = sum(patient.label for patient in patients)
        parts.append(f"{_title(subset)}: {len(patients)} patients, {positives} with the finding")
    return "; ".join(parts)


def _title(subset: str) -> str:
    words = subset.replace("_", " ")
    return "Training set" if subset == "train" else f"Test set {words}"


def _by_set(curves: Sequence[SiteCurve]) -> list[tuple[str, str, list[Shown]]]:
    parts = []
    for subset, group in groupby(curves, key=lambda one: one.subset):
        found = list(group)
        note = f"{found[0].n} patients, {found[0].positives} with the finding."
        drawings = [roc_of(one, model_title(one.model)) for one in found]
        parts.append((_title(subset), note, _shown(drawings)))
    return parts


def _shown(drawings: Sequence[Drawing]) -> list[Shown]:
    # matplotlib escapes what it writes into SVG text
    return [(d.name, d.title, Markup(inline(d))) for d in drawings]  # noqa: S704
