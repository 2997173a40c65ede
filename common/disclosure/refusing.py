"""Refusals: rule, threshold and subject; never the value that fell short."""

from __future__ import annotations

from collections.abc import Iterable

from common.disclosure.descriptions import DESCRIPTIONS
from common.messages.exchanges import Refusal
from common.study.model import PrivacySettings

Refusals = tuple[Refusal, ...]


def refusal(rule: str, privacy: PrivacySettings, subject: str) -> Refusal:
    """Return the refusal of a rule with its threshold in force; KeyError for an unknown rule."""
    described = DESCRIPTIONS[rule]
    threshold = getattr(privacy, described.setting) if described.setting else described.fixed
    return Refusal(rule=rule, threshold=float(threshold), subject=subject)


def once(refusals: Iterable[Refusal]) -> Refusals:
    """Return the refusals without repetition, in order."""
    return tuple({(r.rule, r.threshold, r.subject): r for r in refusals}.values())
