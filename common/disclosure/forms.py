"""Allowed forms of a view: the steps of a fitted model, each once and in their order.

Views travel as data, and rules look at their results. A view of free form could be aimed: steps
that turn a table into zeros and ones about one patient make a harmless sum, or a probability, into
a question about that patient. So a view is accepted only in one of the forms that fitted models
have. No form can show that its numbers were fitted and not made up.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

import numpy as np

from common.disclosure.rule import Rule, SumQuery, declare
from common.messages.plain import to_tree
from common.models import MODELS
from common.statistics.site_quartiles import UNKNOWN_DECIMALS
from common.study.model import Study
from common.transforms import Clip, EventRisk, Linear, Project, Rename, Select, Sigmoid, Transform
from common.transforms.base import ANYWHERE, NOWHERE
from common.transforms.views import (
    SLICES,
    ByFold,
    Joined,
    Paired,
    Table,
    View,
    base_tables,
    leaves_rows_out,
)


class FormError(ValueError):
    """View of a form that no model has; the message says which."""


class _Kind(IntEnum):
    """Stage of processing of a view; only views of lower stages can be joined into it."""

    FEATURES = 0
    MODEL = 1
    STACKED = 2
    TABLE = 3


def check_form(view: View, study: Study) -> None:
    """Check that a view has a form of the study's models.

    Raises
    ------
    FormError : it has another form, or holds a number that is not finite.
    """
    _kind(view, study)
    for array in to_tree(view)[1]:
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise FormError("a number that is not finite")


def is_own_table(view: View) -> bool:
    """Return whether a view is columns that describe patients as they are, and nothing else."""
    plain = all(isinstance(step, Select) for step in view.transforms)
    return plain and isinstance(view.source, Table) and view.source.name in ("coded", SLICES)


def check_out_of_fold(columns: Mapping[str, View], study: Study) -> None:
    """Check that these are out-of-fold probabilities of the study's own models.

    Raises
    ------
    FormError : another name, other folds, or a view that does not end in the model's probability.
    """
    for name, view in columns.items():
        _check_model(name, view, study)
        source = view.source
        if not isinstance(source, ByFold) or len(source.parts) != study.folds:
            raise FormError("out-of-fold rows that are not by fold")
        for fold, part in enumerate(source.parts):
            _check_probability(name, view, part, f"fold{fold}", study)


def check_models(models: Mapping[str, View], study: Study) -> None:
    """Check that these are final models of the study: its names, each ending in a probability.

    Raises
    ------
    FormError : another name, or a view of another form.
    """
    for name, view in models.items():
        _check_model(name, view, study)
        if _own_probability(name, study):
            _check_probability(name, view, view, "final", study)
            continue
        if MODELS[name].network:
            _check_tables(name, view, "final", study)
        steps = [type(step) for step in view.transforms if not isinstance(step, Rename)]
        if not steps or not steps[-1].probability:
            raise FormError("a final model that was not fitted")


def _check_model(name: str, view: View, study: Study) -> None:
    check_form(view, study)
    if leaves_rows_out(view):
        raise FormError("a model of some of the patients")
    if name not in (*study.base_models, *study.fusion_models):
        raise FormError("a model that the study does not have")


def _check_probability(name: str, view: View, part: View, variant: str, study: Study) -> None:
    """Check for a decision value made into a probability; a network's may be what it says."""
    if _own_probability(name, study):
        _check_network(name, view, part, variant)
        return
    steps = [type(step) for step in view.transforms]
    last = type(part.transforms[-1]).__name__ if part.transforms else ""
    if steps not in ([Sigmoid], [EventRisk]) or last not in MODELS[name].decided_by:
        raise FormError("rows that do not end in a probability")
    _check_tables(name, part, variant, study)


def _own_probability(name: str, study: Study) -> bool:
    """Return whether a model is a network that gives its probability itself."""
    own = MODELS[name].network is not None and not study.fits_machine(name)
    return own and study.follow_up is None


def _check_tables(name: str, view: View, variant: str, study: Study) -> None:
    """Check that a model reads its own tables: of a network, that of this variant."""
    spec = MODELS[name]
    last = "features" if study.fits_machine(name) else study.network_answer
    own = {f"{name}/{variant}/{last}"} if spec.network else {*spec.tables}
    beside = {"clinical"} if study.harmonisation.covariates else set()
    if own and not base_tables(view) <= {*own, *beside}:
        raise FormError("a model of another table")


def _check_network(name: str, view: View, part: View, variant: str) -> None:
    """Check for a network's own probability on a common scale, and one sigmoid over it."""
    steps = part.transforms if view is not part else part.transforms[:-1]
    last = [type(step) for step in view.transforms[-1:]]
    wanted = View(source=Table(name=f"{name}/{variant}/probability"))
    own = View(source=part.source, transforms=steps[:-1])
    same = to_tree(own)[0] == to_tree(wanted.then(Select(columns=(name,))))[0]
    scaled = bool(steps) and isinstance(steps[-1], Linear) and steps[-1].columns == (name,)
    one = view is part or len(view.transforms) == 1
    if not (same and scaled and last == [Sigmoid] and one):
        raise FormError("probabilities that are not the network's own")


def _kind(view: View, study: Study) -> _Kind:
    last = _check_steps(view, study)
    source = view.source
    if isinstance(source, Table | Paired):
        return _Kind.FEATURES if last <= Project.place else _Kind.MODEL
    if not isinstance(source, Joined | ByFold) or not source.parts:
        raise FormError("a view without a known source")
    inner = max(_kind(part, study) for part in source.parts)
    if isinstance(source, ByFold):
        return _by_fold(view, source, inner)
    if inner == _Kind.FEATURES:
        return _Kind.MODEL
    _only(view, "models")
    stacked = any(type(s).probability or isinstance(s, Linear) for s in view.transforms)
    if inner > (_Kind.MODEL if stacked else _Kind.STACKED):
        raise FormError("models on models on models")
    return _Kind.STACKED if stacked else _Kind.TABLE


def _by_fold(view: View, source: ByFold, inner: _Kind) -> _Kind:
    _only(view, "folds")
    if inner > _Kind.STACKED or any(isinstance(part.source, ByFold) for part in source.parts):
        raise FormError("folds within folds")
    return max(inner, _Kind.MODEL)


def _only(view: View, kind: str) -> None:
    for step in view.transforms:
        if kind not in type(step).over and step.stands() != ANYWHERE:
            raise FormError(f"{type(step).__name__} on other models")


def _check_steps(view: View, study: Study) -> float:
    """Return the place of the last step; each declares its own, which no message can."""
    last = NOWHERE
    for step in view.transforms:
        place = step.stands() if isinstance(step, Transform) else NOWHERE
        if place != ANYWHERE:
            if not place > last:
                raise FormError(f"{type(step).__name__} at another place than in a model")
            last = place
        if not step.fits(study.selection.clip):
            raise FormError(f"{type(step).__name__} with values that are not the study's")
        for beside in step.views():
            if not isinstance(beside.source, Table) or _check_steps(beside, study) > Clip.place:
                raise FormError(f"{type(step).__name__} beside other columns than a table's")
    return last


def check_quartiles(query: SumQuery) -> str:
    """Refuse quartiles but of a set that this site holds alone, with the study's decimals."""
    recorded = {column.name: column.decimals for column in query.study.clinical}
    own = [recorded.get(name) for name in query.view.outputs()]
    declared = [UNKNOWN_DECIMALS if decimals is None else decimals for decimals in own]
    ours = query.alone and query.statistic.decimals.tolist() == declared
    return "" if ours else "quartiles of another set or column than a study's Table 1"


declare(
    Rule(
        name="form",
        protects="patients that a made-up model or table would single out",
        text="Questions name the steps that turn a table into what is summed. A hospital answers"
        " only where these are the steps of a fitted model, each once and in their order: filling,"
        " standardising, normal scores, components, limits, a machine, a probability. Of a test"
        " set that it holds alone it sums the table as it is. The form does not show whether the"
        " numbers in a step were fitted or made up; deriving the question does.",
        fixed=1.0,
        sums=("quartiles",),
        check=check_quartiles,
        remedy="the same release must run at the coordinator and at every site",
    )
)
