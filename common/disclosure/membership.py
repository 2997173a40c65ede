"""Bounds of the audit of membership inference: fewest patients, and which models."""

from __future__ import annotations

from collections.abc import Iterable

from common.study.model import PrivacySettings, Study

_STACKER = "fusion_decision"


def audited_models(study: Study, names: Iterable[str]) -> tuple[str, ...]:
    """Return the models that a hospital attacks, in order.

    A stacker that the coordinator fitted on pooled rows is a function of its own choice: attacked,
    it would count the training patients whom it was made to single out.
    """
    chosen = study.fusion.pooling == "rows"
    return tuple(name for name in names if not (chosen and name == _STACKER))


def fewest_audited(privacy: PrivacySettings) -> int:
    """Return how many training patients, and how many test patients, the audit needs at least."""
    return max(privacy.min_rows, privacy.min_per_class, 2)
