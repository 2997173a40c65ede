"""How many gradients of support vector machines a study may have.

Each tells a little of the patients near the boundary. Whether two views show the same columns
cannot be told from what they are made of: a step that changes nothing makes another view, a table
joined on makes other columns. So what is counted is every question that reads a table, against all
that the study's own models ask of that table; see `server.phases.svm`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.disclosure.rule import Refusals, Rule, declare, refusal
from common.study.model import PrivacySettings, Study
from common.transforms.views import View, base_tables

# other names of the same columns
SAME = {"coded": "clinical"}


def tables_read(view: View) -> frozenset[str]:
    """Base tables below a view; all readings of radiomics, or all of one network, are one."""
    return frozenset(_base(name) for name in base_tables(view))


def _base(name: str) -> str:
    base = name.split("/")[0].split(":")[0]
    return SAME.get(base, base)


def machine_views(study: Study, base: str) -> int:
    """Over how many views of a base table the study fits machines, each in rounds of its own.

    A linear model asks for all its folds at once, but where the features of a network, which are
    others in every fold, go in; with a kernel every fold and width has features of its own.
    """
    separate = study.folds + 1
    if base not in study.base_models:
        return 0
    kernel = separate * len(study.svm.gammas) if study.svm.kernel == "rbf" else 0
    views = (kernel or 1) if base in ("clinical", "radiomics") else 0
    if "fusion_feature" in study.fusion_models:
        networks = bool(study.networks)
        views += kernel or (separate if networks else 1)
    return views


def machines_at_once(study: Study) -> int:
    """Most machines that one question is about: costs, folds left out, folds judged on."""
    folds = study.folds
    return len(study.svm.cost_grid) * (folds * folds + folds + 1)


def check_rounds(
    statistic: Any, asked: Mapping[str, int], study: Study, privacy: PrivacySettings
) -> Refusals:
    """Gradients of no more machines, and no more often, than the study's models need at most.

    Parameters
    ----------
    asked : different questions so far that read a base table, the one now asked among them.
    """
    if statistic.weights.shape[0] > machines_at_once(study):
        return (refusal("svm_rounds", privacy, "gradients of more machines than the study has"),)
    for base, count in asked.items():
        if count > privacy.max_svm_rounds * machine_views(study, base):
            return (refusal("svm_rounds", privacy, "gradients on the same columns"),)
    return ()


declare(
    Rule(
        name="svm_rounds",
        protects="patients near the boundary of a support vector machine",
        text=(
            "Each gradient tells a little of the patients near the boundary. At most this many"
            " are given for each machine that the study fits, with all its costs and folds at"
            " once, whatever its runs are called; the same question again counts once. A second"
            " derivative is never given."
        ),
        setting="max_svm_rounds",
        sums=("gradient",),
        place=170,
    )
)
