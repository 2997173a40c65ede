"""Block [follow_up] of the study file: an endpoint with a time, and the grid of times."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from typing import Self

from pydantic import Field, model_validator

from common.models import MODELS
from common.study.block import Positive, Settings

MOST_PERIODS = 120


class FollowUp(Settings):
    """Endpoint with a time: `label` says whether it happened, `column` when, or when last seen.

    Hospitals put times on the grid of `ends` before anything is computed; none leaves them. A
    patient without the endpoint at the last end counts as last seen then. Models are Cox models
    within hospitals and give the risk at the first of `horizons`; areas are measured at each.
    """

    column: str = Field(
        "time",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
        description="column of cohort.csv with the time to the endpoint, or to when last seen",
    )
    unit: str = Field("months", description="of times and ends")
    ends: tuple[Positive, ...] = Field(
        min_length=2,
        max_length=MOST_PERIODS,
        description="ends of the periods, increasing; the last is the end of the follow-up",
    )
    horizons: tuple[Positive, ...] = Field(
        min_length=1,
        max_length=5,
        description="ends at which areas are measured; models give the risk at the first",
    )
    costs: tuple[Positive, ...] = Field(
        (0.01, 0.1, 1.0),
        min_length=1,
        max_length=10,
        description="inverse ridge penalties of Cox models to compare by cross-validation",
    )

    @model_validator(mode="after")
    def _the_grid_is_one(self) -> Self:
        for name in ("ends", "horizons"):
            values = getattr(self, name)
            if any(a >= b for a, b in itertools.pairwise(values)):
                raise ValueError(f"{name} must increase")
        for horizon in self.horizons:
            if horizon not in self.ends[:-1]:
                raise ValueError(f"horizon {horizon:g} is not one of ends, before the last")
        return self

    @property
    def periods(self) -> int:
        """Number of periods."""
        return len(self.ends)

    @property
    def horizon(self) -> float:
        """Time by which models give the risk."""
        return self.horizons[0]

    @property
    def last_periods(self) -> tuple[int, ...]:
        """Period that ends at each horizon."""
        return tuple(self.ends.index(horizon) for horizon in self.horizons)

    def place(self, time: float, happened: bool) -> tuple[int, bool]:
        """Return the period of a time, and whether the endpoint happened within the grid.

        Examples
        --------
        >>> grid = FollowUp(ends=(6.0, 12.0), horizons=(6.0,))
        >>> grid.place(6.0, True), grid.place(6.5, True), grid.place(12.5, True)
        ((0, True), (1, True), (1, False))
        """
        if time > self.ends[-1]:
            return self.periods - 1, False
        return bisect.bisect_left(self.ends, time), happened


def check_follow_up(
    settings: FollowUp, models: Sequence[str], clinical: Sequence[str], strata: Sequence[str]
) -> None:
    """Check that the study's models can be fitted to times, and that the column is its own.

    Raises
    ------
    ValueError : a network or another model of yes and no, strata, or a column declared twice.
    """
    for name in models:
        if not MODELS[name].times:
            fit = ", ".join(spec.name for spec in MODELS.values() if spec.times)
            raise ValueError(
                f"[follow_up] {name} cannot be fitted to a time to event; models that can are {fit}"
            )
    if settings.column in clinical:
        raise ValueError(f"[follow_up] {settings.column} is also a clinical column")
    if strata:
        raise ValueError("[follow_up] strata are not measured for a time to event")
