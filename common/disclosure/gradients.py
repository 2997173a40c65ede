"""Limit the gradients of support vector machines in a study.

Each reveals a little about the patients near the boundary. The structure of two views does not show
whether they have the same columns: a step that changes nothing makes another view, a table joined
on makes other columns. So every question that reads a table is counted, against all that the
study's own models ask of that table; see `server.phases.svm`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.disclosure.rule import TRAIN, Refusals, Rule, declare, refusal
from common.models import MODELS
from common.study.model import PrivacySettings, Study
from common.transforms.views import View, base_tables

# other names of the same columns
SAME = {"coded": "clinical"}


def tables_read(view: View) -> frozenset[str]:
    """Return the base tables below a view; all readings, or all of one network, are one."""
    names = [name.split("/")[0].split(":")[0] for name in base_tables(view)]
    return frozenset(SAME.get(name, name) for name in names)


def machine_views(study: Study, base: str) -> int:
    """Return the number of views of a base table on which the study fits machines in own rounds.

    A linear model asks for all its folds at once, except on the features of a network, which differ
    in every fold; with a kernel every fold and width has features of its own.
    """
    separate, views = study.folds + 1, 0
    rbf = study.svm.kernel == "rbf" and study.follow_up is None
    kernel = separate * len(study.svm.gammas) if rbf else 0
    for name in (*study.base_models, *study.fusion_models):
        spec = MODELS[name]
        if study.fits_machine(name) and base in (spec.tables or study.tables):
            by_fold = spec.network is not None or (spec.fuses and study.networks)
            views += kernel or (separate if by_fold else 1)
        elif study.follow_up is not None and base in spec.tables:
            views += 1  # one Cox model on what a network says of patients it has not seen
    return views


def machines_at_once(study: Study) -> int:
    """Return the most machines in one question: costs, folds left out, folds judged on."""
    folds = study.folds
    return len(study.cost_grid) * (folds * folds + folds + 1)


def check_rounds(
    statistic: Any, asked: Mapping[str, int], study: Study, privacy: PrivacySettings
) -> Refusals:
    """Refuse gradients of more machines, or more often, than the study's models need at most.

    Parameters
    ----------
    asked : different questions so far that read a base table, including this one.
    """
    many = statistic.weights.shape[0] > machines_at_once(study)
    most = {base: privacy.max_svm_rounds * machine_views(study, base) for base in asked}
    often = any(count > most[base] for base, count in asked.items())
    return (refusal("svm_rounds", privacy, TRAIN),) if many or often else ()


declare(
    Rule(
        name="svm_rounds",
        protects="patients near the boundary of a support vector machine",
        text="Each gradient tells a little of the patients near the boundary. At most this many"
        " are given for each machine that the study fits, with all its costs and folds at once,"
        " whatever its runs are called; the same question again counts once. A second derivative"
        " is never given.",
        setting="max_svm_rounds",
        sums=("gradient",),
    )
)
