"""Result of the last step of training: all models, their cut-offs, and the stacker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from common.evaluation.linkage import Linkage
from common.messages.plain import plain
from common.statistics.base import Float
from common.study.model import Study
from common.transforms.views import Joined, View
from server.phases.set_findings import EvaluationFindings

STACKER = "fusion_decision"


@plain
class StackerFit:
    """The decision-level fusion, and the areas it was chosen by.

    Parameters
    ----------
    final : view that ends in its probability.
    candidates : per candidate its cross-validated AUC.
    used : name of the candidate in the bundle.
    cox : the Cox model that it is where the endpoint has a time, as `record_of` writes it.
    """

    final: View
    candidates: dict[str, float]
    used: str
    cox: dict[str, Any] = field(default_factory=dict)


@plain
class Decision:
    """Everything that is settled before any test set is evaluated.

    Parameters
    ----------
    training : out-of-fold performance of all models.
    models : per model the view that ends in its probability, the stacker last.
    cutoffs : per model, in the same order.
    edges : (k, cells + 1) of the histograms the test sets are evaluated on, in the same order.
    stacker : None in a study without decision-level fusion.
    linkage : of the pooled rows; None without rows, or where no model reads clinical values alone.
    """

    training: EvaluationFindings
    models: dict[str, View]
    cutoffs: dict[str, float]
    edges: Float
    stacker: StackerFit | None
    linkage: Linkage | None = None


def unstacked(study: Study) -> tuple[str, ...]:
    """Name all models but the stacker, in the order of tables and bundle."""
    return tuple(name for name in (*study.base_models, *study.fusion_models) if name != STACKER)


def side_by_side(views: Mapping[str, View], names: tuple[str, ...]) -> View:
    """Put a column of each of these into one view."""
    return View(source=Joined(parts=tuple(views[name] for name in names)))
