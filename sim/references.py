"""The two references: pooled (one site holds all rows) and local-only (one site trains)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from client.data.cohort import ORIGIN
from client.data.cohort_file import read_table
from client.site import SiteSettings
from common.study.model import NetworkSettings, PrivacySettings, SiteEntry, Study, TestSet

PATHS = ("image", "mask", "mask_r1_repeat", "mask_r2", "mask_r2_repeat")
# a reference releases nothing: all of it happens inside one imagined hospital
UNRESTRICTED = {
    "min_rows": 1,
    "min_rows_per_fold": 1,
    "min_per_class": 1,
    "min_class_per_fold": 0,
    "min_oof_rows": 1,
    "min_rows_weak_penalty": 0,
    "min_cell": 0,
    "masking": "off",
}


def unrestricted(study: Study) -> PrivacySettings:
    """Thresholds of a reference; what shapes the input stays as in the study.

    That is the clipping, the cells of ranks, and which columns are left out as nearly constant.
    """
    return study.privacy.model_copy(update=UNRESTRICTED)


def consent(study: Study) -> PrivacySettings:
    """What a hospital of a reference says in its site.toml: yes to the study's mode, no more."""
    return PrivacySettings(mode=study.privacy.mode)


def networks_of_one(study: Study) -> dict[str, NetworkSettings]:
    """The study's networks where one hospital trains: there is nothing to bring together."""
    alone = {"strategy": "fedavg", "transfer_bits": 32}
    blocks = {"dl2d": study.dl2d, "dl3d": study.dl3d}
    return {name: block.model_copy(update=alone) for name, block in blocks.items()}


def pooled_study(study: Study) -> Study:
    """The same study at one site that holds all hospitals' patients."""
    tests = tuple(
        TestSet(name=t.name, split=t.split, sites=("pooled",), origins=t.hospitals)
        for t in study.test_sets
    )
    return study.model_copy(
        update={
            "sites": (SiteEntry(name="pooled"),),
            "test_sets": tests,
            "privacy": unrestricted(study),
            **networks_of_one(study),
        }
    )


def local_study(study: Study, name: str) -> Study:
    """The same study with one hospital training; all of them test.

    A hospital's own few patients would make too many columns nearly constant: none is left out.
    """
    sites = tuple(SiteEntry(name=s.name, trains=s.name == name) for s in study.sites)
    privacy = unrestricted(study).model_copy(update={"min_category": 0})
    update = {"sites": sites, "privacy": privacy, **networks_of_one(study)}
    return study.model_copy(update=update)


def pool_cohorts(data: Mapping[str, Path], study: Study, folder: Path) -> None:
    """Write one cohort.csv of all hospitals: absolute paths, ids prefixed with the hospital.

    Rows of training split from hospitals that do not train are left out, as the study does. A row
    without an id stays without: it is as unusable as at its hospital.

    Parameters
    ----------
    data : the folder with cohort.csv, by hospital.
    """
    frames = []
    for name, source in data.items():
        frame = read_table(source / "cohort.csv")
        if name not in study.training_sites:
            frame = frame[frame["split"] != "train"]
        ids = [f"{name}/{patient}" if patient else "" for patient in frame["patient_id"]]
        frame = frame.assign(**{ORIGIN: name, "patient_id": ids})
        for column in PATHS:
            if column in frame:
                frame[column] = [str(source / text) if text else "" for text in frame[column]]
        frames.append(frame)
    folder.mkdir(parents=True, exist_ok=True)
    pd.concat(frames).fillna("").to_csv(folder / "cohort.csv", index=False)


def pooled_settings(study: Study, run: Path, cache: Path) -> SiteSettings:
    """Settings of the imagined hospital that holds everything, and agrees to the study's mode."""
    return SiteSettings(
        name="pooled",
        data=(run / "data").resolve(),
        work=(run / "work").resolve(),
        cache=cache.resolve(),
        exclude_bad_patients=True,
        pooled=True,
        privacy=consent(study),
        approvals="open",
    )
