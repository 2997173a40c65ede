"""Comparison of two runs: tables for screen and page, and the page, one self-contained file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from matplotlib.axes import Axes
from rich import box
from rich.table import Table

from common.html import pages
from common.html.drawing import BLUE, LIGHT, VERMILION, Drawing, draw
from common.html.pages import Block, Cell, Line
from common.models import MODELS, in_order
from server.compare.run import ComparedRun
from server.report import words
from server.report.appendix import WHOLE
from server.report.figures import AUC_FLOOR
from server.report.performance_records import Performance
from server.report.reading import set_label, sets
from server.report.selection_records import Selection


def write_comparison(first: ComparedRun, second: ComparedRun, folder: Path) -> Path:
    """Write `index.html` into a folder and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "index.html"
    path.write_text(render(first, second), encoding="utf-8")
    return path


def render(first: ComparedRun, second: ComparedRun) -> str:
    """Return the page as text; the same runs give the same bytes."""
    names = [
        (words.model_label(model), sorted(one & two), sorted(one - two), sorted(two - one))
        for model, one, two in chosen(first, second)
    ]
    return pages.render(
        "server.compare",
        "comparison.html",
        first=first,
        second=second,
        label=words.run_label,
        moment=words.moment,
        remarks=warnings(first, second),
        no_test=NO_TEST,
        drawings=list(overviews(first, second)),
        auc=auc_blocks(first, second),
        settings=settings_block(first, second),
        features=features_block(first, second),
        names=names,
        effort=effort_block(first, second),
        software=software_block(first, second),
    )


def warnings(first: ComparedRun, second: ComparedRun) -> list[str]:
    """Return the reasons why the two are hard to compare."""
    one, two = first.results.study, second.results.study
    found = []
    if one.endpoint != two.endpoint:
        found.append(f"The endpoints differ: {one.endpoint}, and {two.endpoint}.")
    if {site.name for site in one.sites} != {site.name for site in two.sites}:
        found.append("The two runs were made by different sites.")
    if first.run != second.run:
        kinds = f"{words.run_label(first.run)} and {words.run_label(second.run)}"
        found.append(f"The two runs are of different kinds: {kinds}.")
    return found


Row = tuple[str, Performance | None, Performance | None]


def overviews(first: ComparedRun, second: ComparedRun) -> Iterator[Drawing]:
    """Draw one figure a set."""
    for name in set_names(first, second):
        rows = pairs(first, second, name)[::-1]
        height = 1.0 + 0.42 * len(rows)
        yield draw(
            "auc", f"compare-{name}", set_label(name), partial(_paint, rows=rows), height=height
        )


def _paint(axes: Axes, rows: list[Row]) -> None:
    """Paint the first run as a blue dot, the second as a diamond below, with intervals."""
    low = AUC_FLOOR
    for place, (_, *both) in enumerate(rows):
        for row, shift, colour, marker in zip(
            both, (0.14, -0.14), (BLUE, VERMILION), "oD", strict=True
        ):
            if row is None or row.auc is None:
                continue
            if row.ci_low is not None and row.ci_high is not None:
                dash = "-" if marker == "o" else (0, (4, 1.5))
                axes.plot(
                    [row.ci_low, row.ci_high], [place + shift] * 2, color=colour, lw=1.4, ls=dash
                )
                low = min(low, row.ci_low)
            face = colour if marker == "o" else "white"
            axes.plot(row.auc, place + shift, marker, color=colour, mfc=face, mew=1.4, ms=6)
            low = min(low, row.auc)
    axes.axvline(0.5, color=LIGHT, lw=1, zorder=0)
    axes.set_yticks(range(len(rows)), [MODELS[model].label for model, *_ in rows])
    axes.set(xlim=(max(0.0, low - 0.03), 1.01), ylim=(-0.6, len(rows) - 0.4), xlabel="AUC")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


NO_TEST = (
    "There is no P value for a difference between two runs: DeLong's test compares two scores of"
    " the same patients, and results hold no score of any patient. Two intervals that overlap"
    " widely say that the difference may be chance."
)
ABSENT = words.MISSING


def set_names(first: ComparedRun, second: ComparedRun) -> list[str]:
    """Return the sets of either run, those of the first leading."""
    return list(dict.fromkeys([*sets(first.results), *sets(second.results)]))


def pairs(
    first: ComparedRun, second: ComparedRun, name: str
) -> list[tuple[str, Performance | None, Performance | None]]:
    """Return models and their performance on a set in each run, where either has any."""
    one, two = first.performance, second.performance
    found = [(model, one.get((name, model)), two.get((name, model))) for model in in_order(MODELS)]
    return [row for row in found if row[1] is not None or row[2] is not None]


def difference(a: float | None, b: float | None) -> float | None:
    """Return `b` less `a`, where both are known."""
    return None if a is None or b is None else b - a


def signed(value: float | None) -> str:
    """Write `+0.012`, three decimals, with a true minus sign."""
    if value is None:
        return ABSENT
    return ("+" if round(value, 3) > 0 else "") + words.number(value)


def auc_blocks(first: ComparedRun, second: ComparedRun) -> list[Block]:
    """Return the AUCs of both runs and their difference, a block a set."""
    blocks = []
    for name in set_names(first, second):
        rows = pairs(first, second, name)
        lines = tuple(
            Line(MODELS[model].label, (_auc(a), _auc(b), _change(a, b)), model)
            for model, a, b in rows
        )
        columns = ("Model", first.name, second.name, "Difference")
        blocks.append(Block(set_label(name), _patients(rows), columns, lines, name))
    return blocks


def _auc(row: Performance | None) -> Cell:
    if row is None:
        return Cell(ABSENT)
    return Cell(words.auc(row.auc), words.interval(row.ci_low, row.ci_high))


def _change(a: Performance | None, b: Performance | None) -> Cell:
    change = difference(a.auc if a else None, b.auc if b else None)
    return Cell(signed(change), key="difference")


def _patients(rows: Iterable[tuple[str, Performance | None, Performance | None]]) -> str:
    """Say how many patients each run has in a set; another number is another set."""
    counts = [
        {_counted(row) for row in column if row is not None}
        for column in list(zip(*rows, strict=True))[1:]
    ]
    texts = [", ".join(sorted(found)) or "not in this run" for found in counts]
    if texts[0] == texts[1]:
        return f"Both runs: {texts[0]}."
    return f"The two runs judge different patients. First: {texts[0]}. Second: {texts[1]}."


def _counted(row: Performance) -> str:
    if row.positives is None:
        return words.patients(row.n)
    return f"{words.patients(row.n)}, {row.positives} with the finding"


def settings_block(first: ComparedRun, second: ComparedRun) -> Block | None:
    """Return the settings that differ; None where either study is not known."""
    if not first.settings or not second.settings:
        return None
    return _differing("Setting", first, second, first.settings, second.settings, "not there")


def software_block(first: ComparedRun, second: ComparedRun) -> Block:
    """Return the packages of other versions, machine and engine included."""
    return _differing("Software", first, second, _software(first), _software(second), "not known")


def _software(run: ComparedRun) -> dict[str, str]:
    info = run.results.run
    known = {"this software": info.software, "engine": info.engine, "machine": info.machine}
    return {**{key: value for key, value in known.items() if value}, **run.results.software}


def _differing(
    title: str,
    first: ComparedRun,
    second: ComparedRun,
    one: Mapping[str, str],
    two: Mapping[str, str],
    absent: str,
) -> Block:
    names = list(dict.fromkeys([*one, *two]))
    lines = tuple(
        Line(name, (Cell(one.get(name, absent)), Cell(two.get(name, absent))))
        for name in names
        if one.get(name) != two.get(name)
    )
    same = len(names) - len(lines)
    note = f"{same} of {len(names)} are the same in both runs."
    return Block("", note, (title, first.name, second.name), lines)


def features_block(first: ComparedRun, second: ComparedRun) -> Block | None:
    """Count the features that each model chose in each run, and in both."""
    lines = []
    for model, one, two in chosen(first, second):
        either = len(one | two)
        share = f"{100 * len(one & two) / either:.0f} %" if either else ABSENT
        cells = (len(one), len(two), len(one & two))
        lines.append(Line(words.model_label(model), (*(Cell(str(n)) for n in cells), Cell(share))))
    if not lines:
        return None
    columns = ("Arm", first.name, second.name, "In both", "Share of all that are in both")
    return Block("", "", columns, tuple(lines))


def chosen(first: ComparedRun, second: ComparedRun) -> list[tuple[str, set[str], set[str]]]:
    """Return the features that each model uses in each run, where it uses any."""
    one = first.results.selection.get(first.run, {})
    two = second.results.selection.get(second.run, {})
    names = {**one, **two}
    found = [(name, _features(one.get(name)), _features(two.get(name))) for name in names]
    return [row for row in found if row[1] or row[2]]


def _features(selection: Selection | None) -> set[str]:
    if selection is None:
        return set()
    kept = {name for name, value in selection.coefficients.items() if value != 0}
    if selection.cox is not None:
        return set(selection.cox.log_hazard_ratios)
    if selection.svm is not None and selection.svm.weights:
        return set(selection.svm.weights)  # also where a fallback chose, not the LASSO
    return kept


def effort_block(first: ComparedRun, second: ComparedRun) -> Block:
    """Return seconds of every phase, and bytes."""
    runs = (first, second)
    phases = list(dict.fromkeys(p for run in runs for p in run.results.timing if p != WHOLE))
    lines = []
    for phase in phases:
        seconds = [run.results.timing.get(phase, {}).get(run.run) for run in runs]
        lines.append(Line(words.humanise(phase), tuple(map(_duration, seconds))))
    totals = [
        sum(by.get(run.run, 0.0) for phase, by in run.results.timing.items() if phase != WHOLE)
        for run in runs
    ]
    if phases:
        lines.append(Line("All phases", tuple(map(_duration, totals)), "total"))
    for head, key in (
        ("Messages", "messages"),
        ("Sent by the sites", "bytes_up"),
        ("Sent to the sites", "bytes_down"),
    ):
        counts = [
            sum(getattr(t, key) for t in run.results.transfers if t.run == run.run) for run in runs
        ]
        lines.append(
            Line(head, tuple(Cell(str(n) if key == "messages" else words.size(n)) for n in counts))
        )
    return Block("", "", ("", first.name, second.name), tuple(lines))


def _duration(seconds: float | None) -> Cell:
    return Cell(ABSENT if seconds is None else words.duration(seconds))


def auc_table(first: ComparedRun, second: ComparedRun) -> Table:
    """Return the AUC of every model on every set in both runs, and the difference."""
    table = Table(title="Area under the ROC curve (AUC)", title_justify="left", box=box.SIMPLE)
    table.add_column("Model", no_wrap=True)
    for header in (first.name, second.name, "Difference"):
        table.add_column(header, justify="right", overflow="fold")
    for name in set_names(first, second):
        table.add_row(set_label(name), "", "", "", style="bold")
        rows = pairs(first, second, name)
        for place, (model, a, b) in enumerate(rows):
            one, two = (a.auc if a else None), (b.auc if b else None)
            change = signed(difference(one, two))
            label = f"  {MODELS[model].label}"
            last = place == len(rows) - 1
            table.add_row(label, words.auc(one), words.auc(two), change, end_section=last)
    return table


def lines(first: ComparedRun, second: ComparedRun) -> Iterator[str]:
    """Return everything else that differs, briefly."""
    yield NO_TEST
    settings = settings_block(first, second)
    if settings is None:
        for run in (first, second):
            if run.note:
                yield f"settings cannot be compared: {run.name}: {run.note}"
    else:
        yield f"settings that differ: {len(settings.lines) or 'none'}"
        for line in settings.lines:
            yield f"  {line.head}: {line.cells[0].text} | {line.cells[1].text}"
    for model, one, two in chosen(first, second):
        counts = f"{len(one & two)} in both, {len(one - two)} and {len(two - one)} in one only"
        yield f"features of {words.model_label(model)}: {counts}"
    for line in effort_block(first, second).lines[-4:]:
        yield f"{line.head}: {line.cells[0].text} | {line.cells[1].text}"
    software = software_block(first, second)
    for line in software.lines:
        yield f"{line.head}: {line.cells[0].text} | {line.cells[1].text}"
