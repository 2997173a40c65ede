"""Whether the parts of a study fit together: every name refers to something, and to one thing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.errors import SignatureError

if TYPE_CHECKING:
    from common.study import Study


# a model of the outcome, of the split or of a path would be a model of nothing
OWN_COLUMNS = ("patient_id", "label", "split", "image", "mask", "confirmed", "exam_offset_days")


def check_names(study: Study) -> None:
    """ValueError when a name is used twice, is not known, or is of a site that left."""
    names = study.site_names
    if len(set(names)) != len(names):
        raise ValueError("sites: a site name is used twice")
    if not study.training_sites:
        raise ValueError("sites: no site has trains = true")
    _check_left(study)
    sets = [test.name for test in study.test_sets]
    if len(set(sets)) != len(sets) or "train" in sets:
        raise ValueError('test_sets: names must be unique, and "train" is taken')
    for test in study.test_sets:
        for site in test.sites:
            if site not in names:
                raise ValueError(f"test_sets: {test.name} names the unknown site {site}")
    columns = [column.name for column in study.clinical]
    for column in columns:
        if column in OWN_COLUMNS or column.startswith("mask_"):
            raise ValueError(
                f"clinical: cohort.csv has a column {column} of its own, which is no clinical"
                " value; give yours another name"
            )
    if len(set(columns)) != len(columns):
        raise ValueError("clinical: a column is declared twice")
    if "clinical" in study.base_models and not columns:
        raise ValueError("clinical: the clinical model needs at least one column")
    for stratum in study.strata:
        if stratum not in columns:
            raise ValueError(f"strata: {stratum} is not a clinical column")
    if not study.base_models:
        raise ValueError("base_models: name at least one")
    if study.fusion_models and len(study.base_models) < 2:
        raise ValueError("fusion_models: fusion needs at least two base models")


def _check_left(study: Study) -> None:
    """Who left is gone under any name, and has signed it, once for each roster it left."""
    keys = {key: site for site, key in study.roster.items()}
    seen: set[tuple[str, str]] = set()
    for statement in study.left:
        site = statement.site
        if site in study.roster:
            raise ValueError(
                f"left: {site} is still one of the sites; take it out of sites and test_sets, or"
                " its statement out of left"
            )
        if statement.public_key in keys:
            raise ValueError(f"left: {site} has the key of site {keys[statement.public_key]}")
        if (site, statement.roster) in seen:
            raise ValueError(f"left: a statement of {site} is there twice")
        seen.add((site, statement.roster))
        try:
            statement.verify()
        except SignatureError as error:
            raise ValueError(f"left: {error}") from None
