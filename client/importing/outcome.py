"""Outcomes of an import: one for every row of the table, and for images without a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from rich.markup import escape
from rich.table import Table

Status = Literal[
    "taken",
    "unchanged",
    "taken earlier",
    "ambiguous",
    "doubled",
    "no contour",
    "no images",
    "no row",
    "other person",
    "unusable images",
    "unusable row",
]
STATUSES: tuple[Status, ...] = get_args(Status)
IN_COHORT: frozenset[Status] = frozenset({"taken", "unchanged", "taken earlier"})
_COLOURS = {**dict.fromkeys(STATUSES, "yellow"), **dict.fromkeys(IN_COHORT, "green")}


@dataclass(frozen=True)
class Outcome:
    """Result for one row, or for one person's images.

    Parameters
    ----------
    who : the hospital's own identifier; for the screen alone.
    why : reason and remedy; for the screen alone, as it may quote headers and cells.
    series, contours : their numbers in the export.
    burned_in : a header says that text is drawn into the pixels.
    """

    patient_id: str
    status: Status
    who: str
    why: str = ""
    series: int = 0
    contours: int = 0
    burned_in: bool = False

    @property
    def settled(self) -> bool:
        """True for a patient who is in cohort.csv."""
        return self.status in IN_COHORT


HEADINGS = ("patient_id", "status", "series", "contours", "burned_in_text")


def as_rows(outcomes: Sequence[Outcome]) -> list[Sequence[object]]:
    """Return the table for the site's folder, which names nobody."""
    rows = [
        (one.patient_id, one.status, one.series, one.contours, "yes" if one.burned_in else "no")
        for one in sorted(outcomes, key=lambda one: one.patient_id)
    ]
    return [HEADINGS, *rows]


def as_table(outcomes: Sequence[Outcome]) -> Table:
    """Return the table for the hospital's own screen, the unsettled last."""
    table = Table(title="Patients", title_justify="left")
    for heading in ("hospital's own", "pseudonym", "status"):
        table.add_column(heading, no_wrap=True)
    table.add_column("why, and what to do", ratio=1)
    for status in STATUSES:
        for one in (found for found in outcomes if found.status == status):
            colour = _COLOURS[status]
            why = one.why + (" (text is drawn into the pixels)" if one.burned_in else "")
            words = f"[{colour}]{status}[/{colour}]"
            table.add_row(escape(one.who), one.patient_id, words, escape(why.strip()))
    return table


def counted(outcomes: Sequence[Outcome]) -> str:
    """Return the number of outcomes of each kind ("12 taken, 1 ambiguous")."""
    numbers = {status: sum(one.status == status for one in outcomes) for status in STATUSES}
    return ", ".join(f"{n} {status}" for status, n in numbers.items() if n) or "nobody"
