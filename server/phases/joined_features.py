"""Features of several models side by side, made ready for LASSO and machine like one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from common.dossier.disclosure import Disclosure
from common.statistics.fold_histogram import Support
from common.study.model import Study
from common.transforms.views import Joined, View
from server.phases.batching import distinct, run_together
from server.phases.protocol import Federation
from server.phases.spearman import Filtered, Names, spearman_asks, spearman_filter
from server.phases.standardise import moments_asks, standardise

SHOWN_NOTE = "label-free steps of the last outer problem, the final model, are shown"
ROUNDS = 7
Features = tuple[View, ...]


@dataclass(frozen=True)
class JoinedFeatures:
    """Features on z-scores, without those that say the same.

    Parameters
    ----------
    views, supports : by outer problem, as `fit_linear_model` takes them.
    selection : steps and notes for the report.
    changing : columns that hold something else in each outer problem.
    final : filter of the final model.
    """

    views: tuple[View, ...]
    supports: tuple[Support, ...]
    selection: dict[str, Any]
    changing: frozenset[str]
    final: Filtered

    def correlation_of(self, wanted: Names) -> dict[str, Any]:
        """Return the rank correlation of some of the columns, for the report."""
        return self.final.correlation_of(wanted)


def join_features(federation: Federation, models: Sequence[Features]) -> JoinedFeatures:
    """Put the features of these models side by side, standardise and filter them.

    Parameters
    ----------
    models : features of each by outer problem, the folds and then the final model; those of a
        network are another network's in each.
    """
    outers = federation.study.folds + 1
    views, places = distinct(
        [View(source=Joined(parts=tuple(own[outer] for own in models))) for outer in range(outers)]
    )
    scaled, dropped = standardise(federation, views)
    (filtered,) = run_together(federation, spearman_filter(federation.study, scaled))
    selection: dict[str, Any] = {
        "steps": (
            {"step": "columns", "count": len(views[-1].outputs())},
            {"step": "constant", "names": dropped[-1]},
            {"step": "rare", "names": filtered[-1].rare},
            {"step": "spearman", "names": filtered[-1].names},
        ),
        "notes": tuple(filter(None, (SHOWN_NOTE, filtered[-1].note))),
    }
    tables = [filtered[place].table for place in places]
    return JoinedFeatures(
        views=tuple(table.view for table in tables),
        supports=tuple(table.support for table in tables),
        selection=selection,
        changing=_changing(models),
        final=filtered[-1],
    )


def _changing(models: Sequence[Features]) -> frozenset[str]:
    """Name the columns of models that hand over other features in each outer problem."""
    several = [own for own in models if len(distinct(own)[0]) > 1]
    return frozenset(name for own in several for view in own for name in view.outputs())


def join_asks(study: Study, width: int, tables: int) -> tuple[Disclosure, ...]:
    """Declare what `join_features` asks for; `ROUNDS` rounds."""
    return (*moments_asks(study, width, tables), *spearman_asks(study, width, tables))
