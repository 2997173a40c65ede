"""Prepare the images of all patients, then score one after the other."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.imaging.cache import ContentCache
from client.imaging.preparation import PatientJob, PatientProblem, Progress, prepare
from client.imaging.prepared import PreparedImages
from client.predict.inputs import Case
from client.predict.scoring import Prediction, Predictor, job_files
from client.predict.verify import Opened, installed
from client.site import DEVICE_PATTERN
from client.store.batches import KeptBatches
from client.training.device import find_compute
from common.bundle.bundle import blamed_on_bundle
from common.errors import StudyError, UsageError

RESEARCH = "RESEARCH USE ONLY: not a medical device; no decision about a patient may rest on it."
SOFTWARE = ("fedlnm", "torch", "monai", "numpy", "scikit-learn", "SimpleITK", "pyradiomics-bhklab")


@dataclass(frozen=True)
class Outcome:
    """Everything that one call of the command found.

    Parameters
    ----------
    problems : patients that could not be predicted, and why; with the predictions they are all
        that were read.
    warnings : sentences about all patients together.
    """

    opened: Opened
    predictions: tuple[Prediction, ...]
    problems: tuple[PatientProblem, ...]
    warnings: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Count the patients read, predicted and refused."""
        predicted = len(self.predictions)
        refused = len({problem.patient_id for problem in self.problems})
        return {"read": predicted + refused, "predicted": predicted, "refused": refused}

    @property
    def software(self) -> dict[str, str]:
        """Versions of this installation."""
        return installed(SOFTWARE)

    def as_dict(self) -> dict[str, Any]:
        """Return the tree of `--json` and `prediction.json`."""
        opened = self.opened
        return {
            "research_use_only": RESEARCH,
            "bundle": {
                "digest": opened.digest,
                "verified_with_key": opened.signed_by or None,
                "study": opened.study.name,
                "study_digest": opened.bundle.study,
                "endpoint": opened.study.outcome,
                "software": opened.bundle.software,
            },
            "software": self.software,
            "warnings": list(self.warnings),
            "counts": self.counts,
            "patients": [prediction_as_dict(one) for one in self.predictions],
            "refused": [
                {"patient": p.patient_id, "where": p.file, "what": p.what, "remedy": p.remedy}
                for p in self.problems
            ],
        }


def prediction_as_dict(prediction: Prediction) -> dict[str, Any]:
    """Return one patient's prediction, JSON-able."""
    return {
        "patient": prediction.case.patient_id,
        "models": [
            {
                "model": score.model,
                "probability": score.probability,
                "cutoff": score.cutoff,
                "risk": score.group,
                "lacks": list(score.lacks),
            }
            for score in prediction.scores
        ],
        "outside_training_range": [
            {
                "table": one.table,
                "input": one.column,
                "value": one.value,
                "training_range": one.usual,
                "models": list(one.models),
            }
            for one in prediction.outside
        ],
        "notes": list(prediction.notes),
    }


# gibibytes, as in site.toml
MEMORY_GIB = 8.0


def check_device(device: str) -> None:
    """Refuse a device that is not written as in site.toml."""
    if not re.fullmatch(DEVICE_PATTERN, device):
        raise UsageError(
            f'device = "{device}"', where="--device", remedy="use auto, cpu, cuda or cuda:1"
        )


@dataclass(frozen=True)
class Machine:
    """Resources that a prediction may use.

    Parameters
    ----------
    device : as in site.toml.
    workers : processes that prepare patients side by side; 1 = this one.
    cache : prepared crops and features are kept there; None = they are thrown away at the end.
    """

    device: str = "auto"
    workers: int = 1
    cache: Path | None = None


def predict(
    opened: Opened,
    cases: Sequence[Case],
    machine: Machine,
    problems: Sequence[PatientProblem] = (),
    warnings: Sequence[str] = (),
    progress: Progress | None = None,
    kept: KeptBatches | None = None,
) -> tuple[Outcome, Predictor]:
    """Score all patients that can be used; the others are among the outcome's problems.

    Parameters
    ----------
    problems, warnings : what was found before.
    progress : called with patients prepared, patients in all, and the id of the last one.
    kept : effects of the hospital's own batches, where it trained.

    Raises
    ------
    InputError : a device that is not there, or a bundle whose models cannot be applied.
    StudyError : this installation cannot give the features that the study asks for; a patient is
        neither predicted nor refused.
    """
    checked = bool(opened.signed_by)
    with blamed_on_bundle(checked=checked):
        predictor = Predictor(opened, find_compute(machine.device))
    with _cache(machine.cache) as folder:
        images, found = _prepared(opened, cases, machine.workers, folder, progress)
        bad = {problem.patient_id for problem in found}
        usable = [case for case in cases if case.patient_id not in bad]
        with blamed_on_bundle(checked=checked):
            predictions = tuple(predictor.predict(usable, images, kept))
    everything = (*opened.warnings, *warnings)
    outcome = Outcome(opened, predictions, (*problems, *found), everything)
    check_all_are_there(outcome, len(cases) + len(problems))
    return outcome, predictor


def check_all_are_there(outcome: Outcome, given: int) -> None:
    """Refuse an outcome unless every patient given was predicted or refused."""
    if outcome.counts["read"] != given:
        raise StudyError(
            f"{given} patients were read, but {outcome.counts['read']} predicted or refused",
            where="predict",
            remedy="use none of the results, and report this: a patient was lost",
        )


@contextmanager
def _cache(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="fedlnm-predict-") as temporary:
        yield Path(temporary)


def _prepared(
    opened: Opened,
    cases: Sequence[Case],
    workers: int,
    folder: Path,
    progress: Progress | None,
) -> tuple[PreparedImages | None, tuple[PatientProblem, ...]]:
    study = opened.study
    jobs = [
        PatientJob(c.patient_id, *job_files(c), c.confirmed) for c in cases if c.image is not None
    ]
    if not jobs or not study.needs_images:
        return None, ()
    made = prepare(
        jobs,
        imaging=study.imaging if study.networks else None,
        radiomics=study.radiomics if "radiomics" in study.tables else None,
        window=study.radiomics_window,
        cache=ContentCache(folder),
        workers=workers,
        memory_gib=MEMORY_GIB,
        progress=progress,
    )
    return PreparedImages(made), made.problems
