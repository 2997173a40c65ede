"""The patients of the study: their flow, as STARD asks for it, and Table 1."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from itertools import groupby

from matplotlib.axes import Axes

from common.html.drawing import BLACK, GREY, Drawing, draw
from common.html.pages import Block, Cell, Line
from server.report import words
from server.report.reading import set_label
from server.report.schema import (
    Participant,
    ParticipantCount,
    Results,
    Table1Cell,
    Table1Pair,
    Table1Row,
)


def flow_block(results: Results) -> Block | None:
    """Return the patients of every site by set, with the finding, and left out."""
    if not results.participants:
        return None
    sets = _flow_sets(results)
    lines = [
        Line(one.site, (*(_cell(one.sets.get(name)) for name in sets), Cell(str(one.excluded))))
        for one in results.participants
    ]
    totals = [_cell(set_total(results, name)) for name in sets]
    left = sum(one.excluded for one in results.participants)
    lines.append(Line("All", (*totals, Cell(str(left))), "total", pinned=True))
    if results.slices:
        counted = {one.set: one.slices for one in results.slices}
        own = (_slices_cell(counted.get(name), set_total(results, name).n) for name in sets)
        lines.append(Line("Axial slices", (*own, Cell("")), "slices", pinned=True))
    columns = ("Hospital", *(set_label(name) for name in sets), "Left out")
    return Block("", "", columns, tuple(lines), "participants")


def _cell(count: ParticipantCount | None) -> Cell:
    if count is None:
        return Cell("")
    if count.n is None:
        return Cell("withheld")
    with_finding = "withheld" if count.positives is None else str(count.positives)
    return Cell(str(count.n), f"{with_finding} with finding")


def _slices_cell(slices: int | None, patients: int | None) -> Cell:
    if slices is None:
        return Cell(WITHHELD)
    return Cell(str(slices), f"{slices / patients:.1f} a patient" if patients else "")


def _flow_sets(results: Results) -> list[str]:
    declared = ["train", *(test.name for test in results.study.test_sets)]
    held = {name for one in results.participants for name in one.sets}
    return [name for name in declared if name in held]


def set_total(results: Results, name: str) -> ParticipantCount:
    """Total a set over all sites: from the performance, where single sites are withheld."""
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
    """Draw all patients, those left out, and the sets they went to."""
    if results.participants:
        sets = _flow_sets(results)
        paint = partial(_paint, results=results, sets=sets)
        yield draw(
            "flow", "flow", "Patients", paint, width=1.9 * max(len(sets), 2) + 0.6, height=4.0
        )


def _paint(axes: Axes, results: Results, sets: list[str]) -> None:
    left = sum(one.excluded for one in results.participants)
    totals = [set_total(results, name) for name in sets]
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
    lines = [set_label(name), n, f"{positives} with finding", _hospitals(held)]
    slices = {one.set: one.slices for one in results.slices}.get(name)
    if slices is not None:
        lines.insert(3, f"{slices} axial slices")
    return "\n".join(lines)


def _hospitals(held: list[Participant]) -> str:
    return held[0].site if len(held) == 1 else words.count_word(len(held), "hospital")


def _box(axes: Axes, x: float, y: float, text: str, *, small: bool = False) -> None:
    frame = {"boxstyle": "square,pad=0.5", "fc": "white", "ec": BLACK, "lw": 1.0}
    size = 7.5 if small else 8.5
    axes.text(x, y, text, ha="center", va="center", fontsize=size, bbox=frame, zorder=3)


def _arrow() -> dict[str, object]:
    return {"arrowstyle": "-|>", "color": GREY, "lw": 1.0, "shrinkA": 0, "shrinkB": 0}


WITHHELD, SIGNIFICANT = "withheld", 0.05
COUNTS = "Numbers of patients with percentages in parentheses"
MEANS, MEDIANS = "mean ± standard deviation", "median (quartiles)"
WITHHELD_NOTE = (
    "Withheld: a count of very few patients, together with a further count of the same variable"
    " and set from which it could be worked out, or the mean or median of few patients. The test"
    " knows the withheld counts, and its P is then given as a range, or not at all; or it leaves"
    " the set out, which is said where it is so."
)
GROUPED_NOTE = (
    "Grouped: values were counted in cells, so P is approximate; medians and quartiles are within"
    " one recorded unit or 1 % of the distance between the quartiles."
)


def table1_block(results: Results) -> Block | None:
    """Return the baseline characteristics; a variable with levels has a heading row."""
    rows = results.table1
    if not rows:
        return None
    names = list(dict.fromkeys(name for row in rows for name in row.sets))
    lines: list[Line] = []
    for _, group in groupby(rows, key=lambda row: (row.variable, row.kind)):
        lines.extend(_variable(list(group), names))
    columns = ("Characteristic", *(set_label(name) for name in names), "P", "Test")
    # a variable and its levels belong together
    return Block(_title(rows), _note(rows), columns, tuple(lines), sortable=False)


def pairs_block(results: Results) -> Block | None:
    """Return the P of each variable between each test set and the training set."""
    rows = [next(group) for _, group in groupby(results.table1, key=lambda row: row.variable)]
    names = list(dict.fromkeys(name for row in rows for name in row.pairs))
    if not names:
        return None
    lines = tuple(
        Line(words.humanise(row.variable), tuple(_pair(row.pairs.get(name)) for name in names))
        for row in rows
    )
    columns = ("Characteristic", *(set_label(name) for name in names))
    return Block("", "", columns, lines, "pairs", sortable=False)


def _pair(pair: Table1Pair | None) -> Cell:
    if pair is None:
        return Cell(words.MISSING)
    if pair.p_band is not None:
        return Cell(_band(pair.p_band), pair.test or "", "p_pair")
    withheld = pair.p is None and pair.note.startswith("P withheld")
    text = WITHHELD if withheld else words.p_value(pair.p)
    low = pair.p is not None and pair.p < SIGNIFICANT
    below = pair.note.removeprefix("P withheld: ") or pair.test or ""
    return Cell(text, below, "p_pair", strong=low)


def _variable(rows: list[Table1Row], names: list[str]) -> list[Line]:
    first = rows[0]
    label = words.humanise(first.variable)
    result = (Cell(_p(first)), Cell(first.test or words.MISSING))
    missing = [_missing(first.missing.get(name, 0)) for name in names]
    if first.level is None:
        cells = [
            Cell(_continuous(first, first.sets.get(name)), small)
            for name, small in zip(names, missing, strict=True)
        ]
        return [Line(label, (*cells, *result), "variable")]
    lines = [Line(label, (*(Cell("", small) for small in missing), *result), "variable")]
    for row in rows:
        cells = [Cell(_level(row.sets.get(name))) for name in names]
        head = words.humanise(row.level or "")
        lines.append(Line(head, (*cells, Cell(""), Cell("")), "level"))
    return lines


def _level(cell: Table1Cell | None) -> str:
    if cell is None:
        return words.MISSING
    if cell.n is None:
        # the bundle has shares of the training patients, no counts
        shown = cell.percent is not None and not cell.suppressed
        return f"{cell.percent:.0f} %" if shown else WITHHELD
    percent = "" if cell.percent is None else f" ({cell.percent:.0f})"
    return f"{cell.n}{percent}"


def _continuous(row: Table1Row, cell: Table1Cell | None) -> str:
    if cell is None:
        return words.MISSING
    if cell.mean is not None:
        # one decimal more than recorded
        digits = _digits(cell.sd) if row.decimals is None else row.decimals + 1
        return f"{words.number(cell.mean, digits)} ± {words.number(cell.sd, digits)}"
    if cell.median is not None:
        spread = None if cell.q1 is None or cell.q3 is None else cell.q3 - cell.q1
        digits = _digits(spread)
        if row.decimals is not None:
            # a median may lie half-way between two recorded values
            values = [v for v in (cell.q1, cell.median, cell.q3) if v is not None]
            whole = all(math.isclose(v, round(v, row.decimals), abs_tol=1e-9) for v in values)
            digits = row.decimals if whole else row.decimals + 1
        quartiles = f"{words.number(cell.q1, digits)}{words.EN_DASH}{words.number(cell.q3, digits)}"
        return f"{words.number(cell.median, digits)} ({quartiles})"
    return WITHHELD if cell.suppressed or cell.note else words.MISSING


def _digits(spread: float | None) -> int:
    """Return the decimals that show two digits of the spread, at least one."""
    if not spread or spread >= 1:
        return 1
    return 1 - math.floor(math.log10(spread))


def _missing(count: int | None) -> str:
    if count is None:
        return "missing: withheld"
    return f"{count} missing" if count else ""


def _p(row: Table1Row) -> str:
    if row.p_band is None or None in row.p_band:
        withheld = any(cell.suppressed for cell in row.sets.values()) and row.level is not None
        withheld |= row.note.startswith("P withheld")
        return WITHHELD if withheld and row.p is None else words.p_value(row.p)
    return _band(row.p_band)


def _band(ends: tuple[float | None, float | None]) -> str:
    low, high = ends
    if low is None or high is None:
        return WITHHELD
    if low == 0:
        return f"<{high:g}"
    return f"≥{low:g}" if high == 1 else f"{low:g}{words.EN_DASH}{high:g}"


def _title(rows: tuple[Table1Row, ...]) -> str:
    cells = [cell for row in rows for cell in row.sets.values()]
    forms = [MEANS] if any(cell.mean is not None for cell in cells) else []
    forms += [MEDIANS] if any(cell.median is not None for cell in cells) else []
    tested = any(row.test for row in rows)
    corrected = " P values are not corrected for their number." if tested else ""
    return ", or ".join([COUNTS, *forms]) + "." + corrected


def _note(rows: tuple[Table1Row, ...]) -> str:
    cells = [(row, cell) for row in rows for cell in row.sets.values()]
    withheld = any(
        c.suppressed or (r.level is not None and c.n is None and c.percent is None)
        for r, c in cells
    )
    grouped = any("grouped" in (row.test or "") for row in rows)
    notes = ((WITHHELD_NOTE, withheld), (GROUPED_NOTE, grouped))
    return " ".join([*(note for note, wanted in notes if wanted), *_reasons(rows)])


def _reasons(rows: tuple[Table1Row, ...]) -> Iterator[str]:
    """Say why a median, a quartile or P is missing: a sentence a variable and reason."""
    for row in {row.variable: row for row in rows}.values():
        label = words.humanise(row.variable)
        by_note: dict[str, list[str]] = {}
        for name, cell in row.sets.items():
            if cell.note:
                by_note.setdefault(cell.note, []).append(set_label(name))
        for note, sets in by_note.items():
            yield f"{label}, {' and '.join(sets)}: median or quartiles withheld; {note}."
        if row.note:
            yield f"{label}: {row.note}."
