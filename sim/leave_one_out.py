"""Reference that trains without each hospital in turn, and judges the models on its patients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from client.data.cohort_file import read_table
from common.errors import UsageError
from common.study.model import PrivacySettings, SiteEntry, Study, TestSet
from common.study.training import TrainingSettings

LEAVE_ONE_OUT = "leave-one-out"
FEWEST = 3
"""Hospitals that train in a study of which one can be left out, so that two remain."""
LEFT_OUT = "left_out"
FEWEST_POOLED = 3
"""Hospitals that pool rows; of two, cut-offs and stacker come from counts in bins."""
_BINS = {"pooling": "bins", "stacker": "forest"}
_OWN_SPLITS = ("train", "internal_test")
_FIGURES = (
    *("model", "n", "positives", "auc", "se", "ci_low", "ci_high", "ci_method"),
    *("large", "large_low", "large_high", "slope", "slope_low", "slope_high"),
)


def check_enough(study: Study) -> None:
    """Check that hospitals remain when one is left out.

    Raises
    ------
    UsageError : fewer than three hospitals train.
    """
    if len(study.training_sites) < FEWEST:
        raise UsageError(
            f"{len(study.training_sites)} hospital(s) train",
            where=f"--reference {LEAVE_ONE_OUT}",
            remedy=f"it takes {FEWEST}; with two, --reference local trains at either alone",
        )


def left_out_study(study: Study, name: str, privacy: PrivacySettings) -> Study:
    """Return the study of the other training hospitals, whose one test set is those left out."""
    others = tuple(one for one in study.training_sites if one != name)
    sites = tuple(SiteEntry(name=one, trains=one != name) for one in study.training_sites)
    few = len(others) < FEWEST_POOLED
    fusion = study.fusion.model_copy(update=_BINS) if few else study.fusion
    return study.model_copy(
        update={
            "sites": sites,
            "left": (),
            "test_sets": (TestSet(name=LEFT_OUT, split="external_test", sites=(name,)),),
            "strata": (),
            "analysis": study.analysis.model_copy(update={"primary": None}),
            "fusion": fusion,
            "training": TrainingSettings(),
            "privacy": privacy,
        }
    )


def write_left_out_cohort(data: Path, folder: Path, paths: tuple[str, ...]) -> None:
    """Write the cohort.csv of a hospital left out: all patients that it trained and tested with.

    Parameters
    ----------
    data : folder of its own cohort.csv. paths : columns that hold paths relative to it.
    """
    frame = read_table(data / "cohort.csv")
    frame = frame[frame["split"].isin(_OWN_SPLITS)].assign(split="external_test")
    for column in paths:
        if column in frame:
            frame[column] = [str(data / text) if text else "" for text in frame[column]]
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / "cohort.csv", index=False)


def left_out_rows(name: str, tree: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what the models without a hospital reach on its patients, a row a model.

    Parameters
    ----------
    tree : results of the run without it.
    """
    fits = {row["model"]: row for row in tree["calibration_fits"] if row["set"] == LEFT_OUT}
    for row in tree["performance"]:
        if row["set"] == LEFT_OUT:
            found = {**fits.get(row["model"], {}), **row}
            yield {"site": name, **{key: found.get(key) for key in _FIGURES}}
