"""Fewest patients of the audit of membership inference."""

from __future__ import annotations

from common.study.model import PrivacySettings


def fewest_audited(privacy: PrivacySettings) -> int:
    """Return how many training patients, and how many test patients, the audit needs at least."""
    return max(privacy.min_rows, privacy.min_per_class, 2)
