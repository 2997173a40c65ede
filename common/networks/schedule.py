"""Learning rate and held-out fold of a round, planned by the server and checked by the sites."""

from __future__ import annotations

from common.study.networks import NetworkSettings
from common.utils import portable


def learning_rate_at(settings: NetworkSettings, round_index: int) -> float:
    """Return the learning rate of the round with this index (0, 1, ..., rounds - 1).

    Over the first `warmup_rounds` it rises linearly to `learning_rate`; then it stays constant
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
    return settings.learning_rate * 0.5 * (1.0 + portable.half_cosine(progress))


def averaged_rounds(settings: NetworkSettings) -> int:
    """Return the number of final rounds whose global weights are averaged, at least one."""
    return max(1, round(settings.average_last * settings.rounds))


def validation_fold(settings: NetworkSettings, fold: int, folds: int) -> int:
    """Return the fold on which the training without `fold` chooses its round; -1 = none.

    Not the fold left out itself: its patients judge the network, and must not have chosen it.

    Parameters
    ----------
    fold : left out, -1 for the training on all patients, which chooses no round of its own.
    """
    return (fold + 1) % folds if settings.validates and fold >= 0 else -1
