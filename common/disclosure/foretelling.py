"""Find all refusals that a site's own patients decide, before anything is computed.

The rules themselves are applied to the questions that the phases of this study will ask. Refusals
that depend on other sites' patients (cells of ranks, columns with few rows apart) cannot be
known at one site, and are left to the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from common.disclosure.pooled_rows import check_out_of_fold_rows, check_pooling
from common.disclosure.rounds import check_drawn
from common.disclosure.rule import TRAIN, Refusals, once, refusal
from common.disclosure.scores import check_test_set
from common.disclosure.sums import check_sum
from common.disclosure.training import (
    check_enrolment,
    check_fold_classes,
    check_training_sum,
    check_weights,
    fits_machines,
)
from common.messages.exchanges import Refusal
from common.networks.schedule import validation_fold
from common.statistics.base import Rows
from common.statistics.moments import Means
from common.statistics.table1 import GroupSums, ProtectedLevelCounts
from common.study.model import PrivacySettings, Study
from common.transforms import Select
from common.transforms.views import SLICES, table


@dataclass(frozen=True)
class Foretold:
    """Refusals of one site, known before the run.

    Parameters
    ----------
    stops : refusals without which the study cannot go on.
    withheld : refusals about test sets; the study goes on without these parts of its results.
    """

    stops: Refusals
    withheld: Refusals


def foretell(
    study: Study, privacy: PrivacySettings, rows: Mapping[str, Rows], twice: Mapping[str, int]
) -> Foretold:
    """Apply every rule that one site's patients decide to the models and test sets of a study.

    A refusal names rule, threshold and set of patients; no count can be read from it.

    Parameters
    ----------
    privacy : thresholds in force at the site, see `stricter`.
    rows : table of clinical columns as read ("coded"), by subset in which the site takes part.
    twice : training patients with both readings, by pair of readings ("r1 and r2").
    """
    counts = {name: (own.n, int(own.label.sum())) for name, own in rows.items()}
    stops = [*check_enrolment(study, privacy, counts)]
    withheld: list[Refusal] = []
    for subset, own in rows.items():
        if subset == TRAIN:
            stops += _training(study, privacy, own)
            few = any(0 < count < privacy.min_category for count in twice.values())
            if few and "radiomics" in study.tables:
                stops.append(refusal("paired", privacy, TRAIN))
        else:
            stops += _table1(study, privacy, subset, own)
            withheld += check_test_set(own, subset, privacy)
    return Foretold(once(stops), once(withheld))


def _training(study: Study, privacy: PrivacySettings, rows: Rows) -> Iterator[Refusal]:
    yield from check_training_sum(rows, study.folds, privacy)
    if fits_machines(study):
        yield from check_fold_classes(rows, study.folds, privacy)
    for network in study.networks:
        for fold in range(-1, study.folds):
            folds = (fold, validation_fold(study.network(network), fold, study.folds))
            # a total that is not this site's alone, as the coordinator would state it
            few = check_weights(rows, folds, rows.n + 1, study, privacy)
            yield from few or check_drawn(rows, folds, network, study, privacy)
    if study.fusion.pooling == "rows":
        yield from check_out_of_fold_rows(rows, privacy)
        yield from check_pooling(study, privacy)


def _table1(study: Study, privacy: PrivacySettings, subset: str, rows: Rows) -> Iterator[Refusal]:
    """Check Table 1 of a test set; the coordinator asks by the study's own thresholds."""
    continuous = [c.name for c in study.clinical if c.kind == "continuous"]
    counted = [c for c in study.clinical if c.kind != "continuous" or c.summary == "median"]
    fewest = study.privacy.min_rows
    if len(study.members(subset)) == 1:
        if continuous:
            sums = GroupSums(centre=np.zeros(len(continuous)), minimum=fewest)
            yield from _sum(study, privacy, subset, rows, continuous, sums)
        if study.cuts_slices:  # every patient has some
            own = replace(rows, values=np.ones((rows.n, 1)), columns=(SLICES,))
            view = table(SLICES).then(Select(columns=(SLICES,)))
            sums = GroupSums(centre=np.zeros(1), minimum=fewest)
            yield from check_sum(sums, own, subset, study, privacy, view)
        if counted:  # levels, and cells of a histogram: one rule for both
            levels = max(len(c.levels) for c in counted)
            counts = ProtectedLevelCounts(levels=levels, minimum=study.privacy.min_cell)
            yield from _sum(study, privacy, subset, rows, [c.name for c in counted], counts)
    elif (study.clinical or study.cuts_slices) and rows.n >= fewest:
        # the coordinator asks for no table of smaller parts
        names = [column.name for column in study.clinical]
        yield from _sum(study, privacy, subset, rows, names, Means())


def _sum(
    study: Study,
    privacy: PrivacySettings,
    subset: str,
    rows: Rows,
    names: list[str],
    statistic: object,
) -> Refusals:
    places = [rows.columns.index(name) for name in names]
    own = replace(rows, values=rows.values[:, places], columns=tuple(names))
    view = table("coded").then(Select(columns=tuple(names)))
    return check_sum(statistic, own, subset, study, privacy, view)
