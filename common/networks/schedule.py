"""Learning rate of a round: both the server's plan and the tests need it."""

from __future__ import annotations

import math

from common.study_networks import NetworkSettings


def learning_rate_at(settings: NetworkSettings, round_index: int) -> float:
    """Learning rate of the round with this index (0, 1, ..., rounds - 1).

    Over the first `warmup_rounds` it rises linearly to `learning_rate`; then it stays there
    ("constant") or follows half a cosine that would reach zero one round after the last.

    Raises
    ------
    ValueError : the study has no such round.
    """
    if not 0 <= round_index < settings.rounds:
        raise ValueError(f"round {round_index} asked for, the study has {settings.rounds}")
    warm = min(settings.warmup_rounds, settings.rounds - 1)
    if round_index < warm:
        return settings.learning_rate * (round_index + 1) / (warm + 1)
    if settings.schedule == "constant":
        return settings.learning_rate
    progress = (round_index - warm) / (settings.rounds - warm)
    return settings.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))


def averaged_rounds(settings: NetworkSettings) -> int:
    """How many of the last rounds' global weights are averaged into the result, at least one."""
    return max(1, round(settings.average_last * settings.rounds))
