"""Prepare the images of all patients, then score one after the other."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from client.imaging.cache import ContentCache
from client.imaging.errors import PatientError
from client.imaging.preparation import PatientJob, PatientProblem, Progress, prepare
from client.imaging.prepared import PreparedImages
from client.predict.inputs import Case
from client.predict.outcome import Outcome
from client.predict.page import Pictures
from client.predict.scoring import Prediction, Predictor, job_files
from client.predict.verify import Opened
from client.site import DEVICE_PATTERN
from client.training.device import find_compute
from common.errors import StudyError, UsageError

# gibibytes, as in site.toml
MEMORY_GIB = 8.0


def check_device(device: str) -> None:
    """UsageError unless it is written as in site.toml."""
    if not re.fullmatch(DEVICE_PATTERN, device):
        raise UsageError(
            f'device = "{device}"', where="--device", remedy="use auto, cpu, cuda or cuda:1"
        )


@dataclass(frozen=True)
class Machine:
    """What a prediction may use.

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
) -> tuple[Outcome, Predictor]:
    """Score all patients that can be used; the others are among the outcome's problems.

    Parameters
    ----------
    problems, warnings : what was found before.
    progress : called with patients prepared, patients in all, and the id of the last one.

    Raises
    ------
    InputError : a device that is not there.
    StudyError : this installation cannot give the features that the study asks for; a patient is
        neither predicted nor refused.
    """
    predictor = Predictor(opened, find_compute(machine.device))
    with _cache(machine.cache) as folder:
        images, found = _prepared(opened, cases, machine.workers, folder, progress)
        bad = {problem.patient_id for problem in found}
        usable = [case for case in cases if case.patient_id not in bad]
        predictions = tuple(predictor.predict(case, images) for case in usable)
    everything = (*opened.warnings, *warnings)
    outcome = Outcome(opened, predictions, (*problems, *found), everything)
    check_all_are_there(outcome, len(cases) + len(problems))
    return outcome, predictor


def check_all_are_there(outcome: Outcome, given: int) -> None:
    """Raise StudyError unless every patient given was predicted or refused."""
    if outcome.counts["read"] != given:
        raise StudyError(
            f"{given} patients were read, but {outcome.counts['read']} predicted or refused",
            where="predict",
            remedy="use none of the results, and report this: a patient was lost",
        )


def pictures_of(prediction: Prediction, predictor: Predictor, steps: int) -> Pictures:
    """The crop and the map of the 3D network; empty where the patient has no image.

    Parameters
    ----------
    steps : of the map; 0 = none.
    """
    study, case = predictor.opened.study, prediction.case
    if case.image is None or not study.needs_images:
        return Pictures()
    from client.predict.pictures import crop_of, picture_of_crop, picture_of_saliency

    try:
        crop = crop_of(case, study.imaging)
    except PatientError:
        # the models of this study need no crop, and this ROI gives none
        return Pictures()
    shown = picture_of_crop(crop)
    if "dl3d" not in predictor.networks or not steps:
        return Pictures(shown, side_mm=crop.side_mm)
    from client.predict.saliency import integrated_gradients

    model, settings = predictor.networks["dl3d"], study.network("dl3d")
    saliency = integrated_gradients(model, crop.image, settings, predictor.compute, steps)
    laid = picture_of_saliency(crop, saliency)
    return Pictures(shown, laid, crop.side_mm, saliency.explained)


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
        radiomics=study.radiomics if "radiomics" in study.base_models else None,
        window=study.radiomics_window,
        cache=ContentCache(folder),
        workers=workers,
        memory_gib=MEMORY_GIB,
        progress=progress,
    )
    return PreparedImages(made), made.problems
