"""Who took part: the flow of patients as STARD asks for it, as a figure and a table."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from matplotlib.axes import Axes

from common.html.drawing import BLACK, GREY, Drawing, draw
from common.html.tables import Block, Cell, Line
from server.report import words
from server.report.reading import set_label
from server.report.schema import Results
from server.report.schema_flow import Participant, ParticipantCount


def flow_block(results: Results) -> Block | None:
    """Patients of every site by set, with those that have the finding, and those left out."""
    if not results.participants:
        return None
    sets = _sets(results)
    lines = [
        Line(one.site, (*(_cell(one.sets.get(name)) for name in sets), Cell(str(one.excluded))))
        for one in results.participants
    ]
    totals = [_cell(_total(results, name)) for name in sets]
    left = sum(one.excluded for one in results.participants)
    lines.append(Line("All", (*totals, Cell(str(left))), "total", pinned=True))
    columns = ("Hospital", *(set_label(name) for name in sets), "Left out")
    return Block("", "", columns, tuple(lines), "participants")


def _cell(count: ParticipantCount | None) -> Cell:
    if count is None:
        return Cell("")
    if count.n is None:
        return Cell("withheld")
    with_finding = "withheld" if count.positives is None else str(count.positives)
    return Cell(str(count.n), f"{with_finding} with finding")


def _sets(results: Results) -> list[str]:
    declared = ["train", *(test.name for test in results.study.test_sets)]
    held = {name for one in results.participants for name in one.sets}
    return [name for name in declared if name in held]


def _total(results: Results, name: str) -> ParticipantCount:
    """Of a set over all sites: from the performance, where single sites are withheld."""
    for row in results.performance:
        if row.set == name and row.run in ("federated", "pooled"):
            return ParticipantCount(n=row.n, positives=row.positives)
    own = [one.sets[name] for one in results.participants if name in one.sets]
    n = [count.n for count in own]
    positives = [count.positives for count in own]
    return ParticipantCount(
        n=None if None in n else sum(x for x in n if x is not None),
        positives=None if None in positives else sum(x for x in positives if x is not None),
    )


def draw_flow(results: Results) -> Iterator[Drawing]:
    """One figure: all patients, those left out, and the sets they went to."""
    if results.participants:
        sets = _sets(results)
        paint = partial(_paint, results=results, sets=sets)
        yield draw(
            "flow", "flow", "Patients", paint, width=1.9 * max(len(sets), 2) + 0.6, height=4.0
        )


def _paint(axes: Axes, results: Results, sets: list[str]) -> None:
    left = sum(one.excluded for one in results.participants)
    totals = [_total(results, name) for name in sets]
    known = [count.n for count in totals if count.n is not None]
    enrolled = sum(known)
    middle = (len(sets) - 1) / 2
    hospitals = words.count_word(len(results.participants), "hospital")
    top = f"{enrolled + left} patients\nof {hospitals}"
    _box(axes, middle, 3.0, top)
    _box(axes, middle + 1.05, 2.35, f"{left} left out:\ndata not usable", small=True)
    _box(axes, middle, 1.7, f"{enrolled} patients\nin the study")
    axes.annotate("", (middle, 1.99), (middle, 2.72), arrowprops=_arrow())
    axes.annotate("", (middle + 0.62, 2.35), (middle, 2.35), arrowprops=_arrow())
    for place, (name, count) in enumerate(zip(sets, totals, strict=True)):
        _box(axes, place, 0.3, _set_text(results, name, count))
        axes.plot([middle, middle, place, place], [1.41, 1.15, 1.15, 1.1], color=GREY, lw=1)
        axes.annotate("", (place, 0.86), (place, 1.15), arrowprops=_arrow())
    axes.set(xlim=(-0.6, max(len(sets) - 0.4, middle + 1.65)), ylim=(-0.35, 3.35))
    axes.axis("off")


def _set_text(results: Results, name: str, count: ParticipantCount) -> str:
    held = [one for one in results.participants if name in one.sets]
    n = words.patients(count.n)
    positives = "withheld" if count.positives is None else str(count.positives)
    return f"{set_label(name)}\n{n}\n{positives} with finding\n{_hospitals(held)}"


def _hospitals(held: list[Participant]) -> str:
    return held[0].site if len(held) == 1 else words.count_word(len(held), "hospital")


def _box(axes: Axes, x: float, y: float, text: str, *, small: bool = False) -> None:
    frame = {"boxstyle": "square,pad=0.5", "fc": "white", "ec": BLACK, "lw": 1.0}
    size = 7.5 if small else 8.5
    axes.text(x, y, text, ha="center", va="center", fontsize=size, bbox=frame, zorder=3)


def _arrow() -> dict[str, object]:
    return {"arrowstyle": "-|>", "color": GREY, "lw": 1.0, "shrinkA": 0, "shrinkB": 0}
