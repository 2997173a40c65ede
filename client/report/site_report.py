"""Write the site's report from what the run left at the hospital, for its owner's eyes alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from client.data.cohort import Patient
from client.report.curves import SiteCurve, curves_of, roc_of
from client.report.feature_maps import blocks_of, heatmap_of, map_of
from client.report.outliers import Outlier, measure_all, outliers
from client.report.patients import rows_of
from client.report.site_run import SiteRun
from client.workspace import Progress
from common.html import pages
from common.html.drawing import Drawing
from common.html.tables import Block, Cell, Line
from common.models import MODELS, label_of
from common.utils.durable import make_folder, write_durably


def write_page(run: SiteRun, folder: Path, progress: Progress | None = None) -> Path:
    """Write `index.html` (0600) into a folder that its owner alone may enter; return its path."""
    make_folder(folder)
    path = folder / "index.html"
    write_durably(path, render(run, progress).encode())
    return path


def render(run: SiteRun, progress: Progress | None = None) -> str:
    """Return the page as text."""
    blocks = blocks_of(run)
    curves, without = curves_of(run)
    measured = measure_all(_all_patients(run), progress) if run.study.needs_images else {}
    return pages.render(
        "client.report",
        "site_report.html",
        site=run.settings.name,
        study=run.study.name,
        run=run.name,
        endpoint=run.study.endpoint,
        counts=_counts(run),
        excluded=run.excluded,
        confirmed=run.confirmed,
        measured=len(measured),
        outliers=_outlier_table(outliers(measured)),
        curves=_by_set(curves),
        without=without,
        maps=[map_of(block) for block in blocks],
        heatmaps=[heatmap_of(block) for block in blocks],
        gaps=[
            f"{block.title}: {100 * block.gaps:.1f} % of the values were missing; the feature's"
            " median stands in."
            for block in blocks
            if block.gaps
        ],
        patients=[(_title(subset), rows_of(run, subset)) for subset in run.subsets],
        label=label_of,
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


def _by_set(curves: Sequence[SiteCurve]) -> list[tuple[str, str, list[Drawing]]]:
    parts = []
    for subset, group in groupby(curves, key=lambda one: one.subset):
        found = list(group)
        note = f"{found[0].n} patients, {found[0].positives} with the finding."
        drawings = [roc_of(one, MODELS[one.model].label) for one in found]
        parts.append((_title(subset), note, drawings))
    return parts


def _outlier_table(found: Sequence[Outlier]) -> Block:
    lines = tuple(
        Line(
            one.patient,
            (
                Cell(one.measure),
                Cell(f"{one.value:.4g}"),
                Cell(f"{one.median:.4g}"),
                Cell(f"{one.deviations:+.1f}"),
            ),
        )
        for one in found
    )
    return Block("", "", ("Patient", "What", "Value", "Median here", "Robust SD away"), lines)
