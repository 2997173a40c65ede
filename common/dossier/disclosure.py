"""Declarations of what a study asks of a hospital: one a kind of answer, with shapes and bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from common.dossier.markdown import shape
from common.masking.layout import sizes
from common.statistics.base import describe
from common.study.model import Study

EVERYBODY = ""
FRAME = 512  # bytes of a message beside its numbers, at most
BYTES64, BYTES32, FLOAT_BYTES = 8, 4, 8


@dataclass(frozen=True)
class Disclosure:
    """One kind of answer, as large as it can be.

    Parameters
    ----------
    exchange : kind of message.
    what : name of the statistic, or the answer in words.
    subset : "train", a test set, or `EVERYBODY`: all sites, whatever patients they have.
    parts : shape of every part, as text.
    size : bytes in one round; for `query.rows`, a training patient of any hospital.
    rounds : at most.
    tables : that are asked about in one round.
    columns : of each table, at most.
    masked : whether the answer says nothing without those of other hospitals.
    """

    exchange: str
    what: str
    subset: str
    parts: Mapping[str, str]
    size: int
    rounds: int
    tables: int = 1
    columns: int = 0
    masked: bool = False

    @property
    def by_patient(self) -> bool:
        """Tell whether the size is that of one patient."""
        return self.exchange == "query.rows"


@dataclass(frozen=True)
class Phase:
    """One phase of a study: `rounds` are questions at most, each for any number of sums."""

    name: str
    purpose: str
    rounds: int
    asked: tuple[Disclosure, ...]

    def asked_of(self, study: Study, site: str) -> list[Disclosure]:
        """List the questions that concern a site."""
        return [
            one
            for one in self.asked
            if one.subset == EVERYBODY or site in study.members(one.subset)
        ]

    def bytes_up(self, study: Study, site: str) -> int:
        """Bound what a site sends, with the frames of messages, without rows of patients."""
        own = self.asked_of(study, site)
        numbers = sum(one.size * one.rounds for one in own if not one.by_patient)
        return numbers + (FRAME * self.rounds if own else 0)


def sum_disclosure(
    study: Study,
    statistic: Any,
    columns: int,
    subset: str = "train",
    *,
    tables: int = 1,
    rounds: int = 1,
) -> Disclosure:
    """Declare a statistic over tables of so many columns each."""
    ring64, ring32 = sizes(statistic, columns)
    return Disclosure(
        exchange="query.sum",
        what=describe(statistic),
        subset=subset,
        parts={part: shape(own) for part, own in statistic.shapes(columns).items()},
        size=tables * (BYTES64 * ring64 + BYTES32 * ring32),
        rounds=rounds,
        tables=tables,
        columns=columns,
        masked=study.masked(subset),
    )


def answers(
    exchange: str, what: str, subset: str, parts: Mapping[str, tuple[int, ...]]
) -> Disclosure:
    """Declare arrays of float64 in the clear, once."""
    count = sum(_numbers(own) for own in parts.values())
    return Disclosure(
        exchange=exchange,
        what=what,
        subset=subset,
        parts={part: shape(own) for part, own in parts.items()},
        size=FLOAT_BYTES * count,
        rounds=1,
    )


def _numbers(axes: Iterable[int]) -> int:
    product = 1
    for axis in axes:
        product *= axis
    return product
