"""A phantom study on disk: cohort, CT and contours of every hospital, with a known ceiling."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from numpy.typing import NDArray

from common.errors import InputError, UsageError
from common.models import NETWORKS
from common.utils.workers import WorkerPool
from sim.phantom.anatomy import Tumour, scan
from sim.phantom.clinical import (
    COLUMNS,
    LEVELS,
    bayes_auc,
    clinical_row,
    generator_of,
    latent_of,
    trait,
)
from sim.phantom.plan import DEFAULT, SMALL, HospitalPlan, PhantomPlan

_KINDS = (
    ("age", "continuous"),
    ("sex", "binary"),
    ("primary_site", "binary"),
    ("t_stage", "ordinal"),
    ("differentiation", "ordinal"),
    ("space_invasion", "binary"),
    ("cartilage_invasion", "binary"),
    ("max_diameter_cm", "continuous"),
    ("enhancement", "binary"),
)
_UNITS = {"age": "years", "max_diameter_cm": "cm"}


# of fewer rows, too many have a probability of their own to two decimals
FEW_ROWS = 100


def study_text(plan: PhantomPlan, seed: int) -> str:
    """Return the TOML of the study over this phantom's hospitals."""
    lines = [
        'preset = "phantom"',
        f'name = "{plan.name}"',
        'endpoint = "occult lymph-node metastasis (phantom)"',
        f"seed = {seed}",
        'strata = ["primary_site", "t_stage"]',
        "",
    ]
    if plan.rounds is not None:
        lines += [f"[{name}]\nrounds = {plan.rounds}\n" for name in NETWORKS]
    if sum(hospital.train for hospital in plan.hospitals) < FEW_ROWS:
        lines.append("[fusion]\nrow_decimals = 1\n")
    elif plan.external_sets:
        pair = 'model_a = "fusion_decision", model_b = "clinical"'
        primary = f'primary = {{ {pair}, set = "{plan.external_sets[0][0]}" }}'
        lines += ["# whether images add to what is known without them", "[analysis]", primary, ""]
    for hospital in plan.hospitals:
        trains = "true" if hospital.train else "false"
        lines += ["[[sites]]", f'name = "{hospital.name}"', f"trains = {trains}", ""]
    training = tuple(hospital.name for hospital in plan.hospitals if hospital.train)
    lines += _test_set("internal", "internal_test", training)
    for name, sites in plan.external_sets:
        lines += _test_set(name, "external_test", sites)
    for column, kind in _KINDS:
        lines += ["[[clinical]]", f'name = "{column}"', f'kind = "{kind}"']
        if column in LEVELS:
            lines.append(f"levels = {_strings(LEVELS[column])}")
        if column in _UNITS:
            lines.append(f'unit = "{_UNITS[column]}"')
        lines.append("")
    return "\n".join(lines)


def _test_set(name: str, split: str, sites: tuple[str, ...]) -> list[str]:
    return [
        "[[test_sets]]",
        f'name = "{name}"',
        f'split = "{split}"',
        f"sites = {_strings(sites)}",
        "",
    ]


def _strings(values: tuple[str, ...]) -> str:
    return "[" + ", ".join(f'"{value}"' for value in values) + "]"


__all__ = ["DEFAULT", "SMALL", "PhantomPlan", "generate"]

Progress = Callable[[str, int, int], None]
VERSION = 1
# SD in mm of each reading's contour about the true surface: a reader agrees best with himself.
READINGS = {"r1": 0.25, "r1_repeat": 0.3, "r2": 0.4, "r2_repeat": 0.45}
FILE_COLUMNS = (
    "patient_id",
    "image",
    "mask",
    "mask_r1_repeat",
    "mask_r2",
    "mask_r2_repeat",
    "label",
    "split",
    "exam_offset_days",
)


@dataclass(frozen=True)
class _Task:
    out: Path
    seed: int
    plan: PhantomPlan
    hospital: HospitalPlan
    index: int


def generate(
    out: Path,
    *,
    seed: int,
    plan: PhantomPlan = DEFAULT,
    workers: int = 2,
    progress: Progress | None = None,
) -> None:
    """Write a phantom study: a folder per hospital, `study.toml` and `phantom.json`.

    A patient depends on seed, hospital and index alone. A folder that already holds this phantom
    does not change.

    Parameters
    ----------
    workers : processes that draw patients.
    progress : called with the finished step, patients done, and patients in all.

    Raises
    ------
    UsageError : the folder holds another phantom.
    """
    record = _record(seed, plan)
    marker = out / "phantom.json"
    if marker.is_file():
        if _same(marker, record):
            return
        raise UsageError(
            "holds another phantom study",
            where=str(out),
            remedy="give another folder, or delete this one",
        )
    tasks = [
        _Task(out, seed, plan, hospital, index)
        for hospital in plan.hospitals
        for index in range(hospital.patients)
    ]
    for hospital in plan.hospitals:
        for reading in READINGS if hospital.repeat_readings else ("r1",):
            (out / hospital.name / "masks" / reading).mkdir(parents=True, exist_ok=True)
        (out / hospital.name / "images").mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[dict[str, str]]] = {hospital.name: [] for hospital in plan.hospitals}
    for done, (task, row) in enumerate(zip(tasks, _drawn(tasks, workers), strict=True), start=1):
        rows[task.hospital.name].append(row)
        if progress is not None:
            progress("phantom patients", done, len(tasks))
    for name, cohort in rows.items():
        _write_cohort(out / name / "cohort.csv", cohort)
    (out / "study.toml").write_text(study_text(plan, seed), encoding="utf-8")
    # Last, as its presence shows that all the rest is complete.
    marker.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def split_of(hospital: HospitalPlan, index: int) -> str:
    """Return the split of the patient with this index in a hospital."""
    if index < hospital.train:
        return "train"
    if index < hospital.train + hospital.internal_test:
        return "internal_test"
    return "external_test"


def ceilings(seed: int, plan: PhantomPlan) -> dict[str, float | None]:
    """Return the Bayes AUC of the latent among all training patients and in each test set."""
    external = dict(plan.external_sets)
    members: dict[str, list[tuple[int, float]]] = {"train": [], "internal": []}
    members |= {name: [] for name in external}
    for hospital in plan.hospitals:
        for index in range(hospital.patients):
            latent = latent_of(seed, plan, hospital, index)
            split = split_of(hospital, index)
            names = {"train": ["train"], "internal_test": ["internal"]}.get(
                split, [name for name, sites in external.items() if hospital.name in sites]
            )
            for name in names:
                members[name].append((latent.label, latent.aggressiveness))
    return {name: _ceiling(pairs) for name, pairs in members.items()}


def _ceiling(pairs: list[tuple[int, float]]) -> float | None:
    label: NDArray[np.int64] = np.array([pair[0] for pair in pairs], dtype=np.int64)
    value: NDArray[np.float64] = np.array([pair[1] for pair in pairs], dtype=np.float64)
    return bayes_auc(label, value)


def _record(seed: int, plan: PhantomPlan) -> dict[str, Any]:
    record = {
        "version": VERSION,
        "seed": seed,
        "plan": asdict(plan),
        "ceiling": ceilings(seed, plan),
    }
    return dict(json.loads(json.dumps(record)))


def _same(marker: Path, record: dict[str, Any]) -> bool:
    try:
        found = json.loads(marker.read_text(encoding="utf-8"))
    except ValueError:
        raise InputError(
            "is not JSON", where=str(marker), remedy="delete the phantom's folder"
        ) from None
    return bool(found == record)


def _drawn(tasks: list[_Task], workers: int) -> Iterator[dict[str, str]]:
    if workers <= 1:
        yield from map(_draw_patient, tasks)
        return
    with WorkerPool(workers) as pool:
        yield from pool.map(_draw_patient, tasks, chunksize=4)


def tumour_of(seed: int, plan: PhantomPlan, hospital: HospitalPlan, index: int) -> Tumour:
    """Return the visible traits of a patient's tumour."""
    rng = generator_of(seed, hospital.name, index, "tumour")
    latent = latent_of(seed, plan, hospital, index)
    small, large = plan.radius_mm
    size = trait(rng, latent, plan.size_fidelity)
    middle, half = (small + large) / 2.0, (large - small) / 2.0
    roughness, texture, necrosis, enhancement = (
        trait(rng, latent, plan.image_fidelity) for _ in range(4)
    )
    return Tumour(
        radius_mm=middle + half * float(np.tanh(0.7 * size)),
        roughness=roughness,
        texture=texture,
        necrosis=necrosis,
        enhancement=enhancement,
        protocol=trait(rng, latent, hospital.protocol_bias),
    )


def _draw_patient(task: _Task) -> dict[str, str]:
    """Write a patient's files; return the row of cohort.csv."""
    seed, plan, hospital, index = task.seed, task.plan, task.hospital, task.index
    patient_id = f"{hospital.name}-{index + 1:03d}"
    tumour = tumour_of(seed, plan, hospital, index)
    rng = generator_of(seed, hospital.name, index, "scan")
    wanted = READINGS if index < hospital.repeat_readings else {"r1": READINGS["r1"]}
    scanned = scan(rng, tumour, hospital.scanner, wanted)
    files = {"image": f"images/{patient_id}.nii.gz"}
    _write(task.out / hospital.name / files["image"], scanned.image, scanned.spacing)
    for reading in wanted:
        column = "mask" if reading == "r1" else f"mask_{reading}"
        files[column] = f"masks/{reading}/{patient_id}.nii.gz"
        path = task.out / hospital.name / files[column]
        _write(path, scanned.masks[reading], scanned.spacing)
    admin = generator_of(seed, hospital.name, index, "admin")
    diameter_cm = 0.2 * tumour.radius_mm * float(admin.normal(1.08, 0.06))
    row = {
        "patient_id": patient_id,
        **files,
        "label": str(latent_of(seed, plan, hospital, index).label),
        "split": split_of(hospital, index),
        "exam_offset_days": str(-int(admin.integers(1, 28))),
    }
    return row | clinical_row(
        seed, plan, hospital, index, diameter_cm=diameter_cm, necrosis=tumour.necrosis
    )


def _write(path: Path, array: NDArray[Any], spacing: tuple[float, float, float]) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing[::-1])
    extent = [count * step for count, step in zip(image.GetSize(), spacing[::-1], strict=True)]
    image.SetOrigin([-0.5 * length for length in extent])
    sitk.WriteImage(image, str(path), useCompression=True)


def _write_cohort(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=[*FILE_COLUMNS, *COLUMNS], restval="")
        writer.writeheader()
        writer.writerows(rows)
