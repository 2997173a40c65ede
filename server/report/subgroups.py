"""AUC in parts of a test set: each subgroup (as the paper's figures S5 and S6), each hospital."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from matplotlib.axes import Axes

from common.html.drawing import BLACK, LIGHT, Drawing, draw, style_of
from common.html.pages import Block, Cell, Line
from common.models import MODELS
from server.report import words
from server.report.follow_up import unit_of
from server.report.heterogeneity import summary_lines
from server.report.performance import interval_warnings
from server.report.performance_records import SitePerformance, Stratum, StratumTest
from server.report.reading import main_run, models, set_label, sets
from server.report.schema import Results

MARKERS = "os^Dv<>P"


def strata_blocks(results: Results) -> list[Block]:
    """Return the AUC within the levels of each column, a table a test set."""
    rows = [row for row in results.strata if row.run == main_run(results)]
    shown = [model for model in models(results) if any(row.model == model for row in rows)]
    blocks = []
    for name in _sets(results):
        own = [row for row in rows if row.set == name]
        lines: list[Line] = []
        for variable in dict.fromkeys(row.variable for row in own):
            of_variable = [row for row in own if row.variable == variable]
            lines += _subgroup_lines(results, of_variable, shown)
        columns = ("Subgroup", "Patients, with finding", *(MODELS[m].label for m in shown))
        labelled = [(f"{words.humanise(row.variable)} {row.level}", row) for row in own]
        warnings = interval_warnings(labelled)
        note = " ".join([*_without_area(own), *_without_test(results, name), *warnings])
        blocks.append(Block(set_label(name), note, columns, tuple(lines), f"strata-{name}"))
    return blocks


def _subgroup_lines(results: Results, rows: list[Stratum], shown: list[str]) -> Iterator[Line]:
    """Return a row a level, then the test of the difference between the levels."""
    variable = rows[0].variable
    for level in dict.fromkeys(row.level for row in rows):
        by_model: dict[str, Stratum] = {r.model: r for r in rows if r.level == level}
        any_row = next(iter(by_model.values()))
        cells = [_auc(by_model.get(model)) for model in shown]
        head = f"{words.humanise(variable)}: {level}"
        key = f"{variable}|{level}"
        lines_n = Cell(_patients(any_row), key="n")
        yield Line(head, (lines_n, *cells), key)
    tests = _tests(results, rows[0].set, variable)
    if tests:
        ps = [_p(tests.get(model)) for model in shown]
        yield Line(f"{words.humanise(variable)}: P", (Cell(""), *ps), f"{variable}|p", pinned=True)


def _auc(row: Stratum | SitePerformance | None) -> Cell:
    if row is None:
        return Cell(words.MISSING)
    if row.auc is None:
        return Cell(words.MISSING, key=row.model)
    return Cell(words.auc(row.auc), words.interval(row.ci_low, row.ci_high), row.model)


def _patients(row: Stratum) -> str:
    if row.n is None:
        return "withheld"
    return f"{row.n}, {words.MISSING if row.positives is None else row.positives}"


def _p(test: StratumTest | None) -> Cell:
    if test is None or test.p is None:
        return Cell(words.MISSING)
    corrected = test.p if test.p_holm is None else test.p_holm
    small = "" if test.p_holm is None else f"Holm {words.p_value(test.p_holm)}"
    return Cell(words.p_value(test.p), small, test.model, strong=corrected < 0.05)


def _tests(results: Results, name: str, variable: str) -> dict[str, StratumTest]:
    return {
        test.model: test
        for test in results.strata_tests
        if (test.run, test.set, test.variable) == (main_run(results), name, variable)
    }


def _without_area(rows: list[Stratum]) -> list[str]:
    """Say which levels have no AUC, and why."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row.note:
            names = reasons.setdefault(row.note, [])
            name = f"{words.humanise(row.variable)} {row.level}"
            if name not in names:
                names.append(name)
    return [f"No AUC for {words.join(names)} ({why})." for why, names in reasons.items()]


def _without_test(results: Results, name: str) -> list[str]:
    """Say which differences of a set have no P, and why."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for test in results.strata_tests:
        if (test.run, test.set) == (main_run(results), name) and test.note:
            models = reasons.setdefault((test.variable, test.note), [])
            models.append(MODELS[test.model].label)
    return [
        f"No P for {words.humanise(variable)}, {words.join(models)} ({why})."
        for (variable, why), models in reasons.items()
    ]


def _sets(results: Results) -> list[str]:
    found = {row.set for row in results.strata if row.run == main_run(results)}
    return [name for name in sets(results) if name in found]


def draw_strata(results: Results) -> Iterator[Drawing]:
    """Draw areas with intervals by level, a figure a set and column that has any."""
    for name in _sets(results):
        rows = [r for r in results.strata if r.run == main_run(results) and r.set == name]
        for variable in dict.fromkeys(row.variable for row in rows):
            own = [row for row in rows if row.variable == variable]
            if not any(row.auc is not None for row in own):
                continue
            shown = [model for model in models(results) if any(r.model == model for r in own)]
            paint = partial(_paint, rows=own, shown=shown)
            title = f"{set_label(name)}: {words.humanise(variable)}"
            height = 1.5 + 0.42 * len(shown)
            yield draw("strata", f"strata-{name}-{variable}", title, paint, height=height)


def _paint(axes: Axes, rows: list[Stratum], shown: list[str]) -> None:
    """Paint a row a model; levels below each other, distinguished by marker and filling."""
    levels = list(dict.fromkeys(row.level for row in rows if row.auc is not None))
    order = shown[::-1]
    low = 0.4
    for row in rows:
        if row.auc is None or row.ci_low is None or row.ci_high is None:
            continue
        index = levels.index(row.level)
        place = order.index(row.model) + 0.16 * ((len(levels) - 1) / 2 - index) * 2
        colour = style_of(row.model)[0]
        axes.plot([row.ci_low, row.ci_high], [place] * 2, color=colour, lw=1.2, zorder=2)
        filling = colour if index == 0 else "white"
        marker = MARKERS[index % len(MARKERS)]
        axes.plot(row.auc, place, marker, mfc=filling, mec=colour, ms=5, mew=1.3, zorder=3)
        low = min(low, row.ci_low)
    for index, level in enumerate(levels):
        n = next((row.n for row in rows if row.level == level), None)
        filling = BLACK if index == 0 else "white"
        marker = MARKERS[index % len(MARKERS)]
        label = f"{level} (n={n})"
        axes.plot([], [], marker, mfc=filling, mec=BLACK, ms=5, mew=1.3, ls="", label=label)
    axes.axvline(0.5, color=LIGHT, lw=1, zorder=0)
    axes.set_yticks(range(len(order)), [MODELS[model].label for model in order])
    axes.set(xlim=(max(0.0, low - 0.03), 1.01), ylim=(-0.6, len(order) - 0.4), xlabel="AUC")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.4, -0.42 / (0.25 * len(order) + 0.6)), ncols=2
    )


def per_site_blocks(results: Results) -> list[Block]:
    """Return the AUC of every model at each hospital, a table a test set and horizon."""
    rows = [row for row in results.site_performance if row.run == main_run(results)]
    shown = [model for model in models(results) if any(row.model == model for row in rows)]
    columns = ("Hospital", "Patients, with finding", *(MODELS[m].label for m in shown))
    sites = {test.name: test.sites for test in results.study.test_sets}
    everybody = tuple(one.name for one in results.study.sites)
    blocks = []
    for name, horizon in dict.fromkeys((row.set, row.horizon) for row in rows):
        own = [row for row in rows if (row.set, row.horizon) == (name, horizon)]
        # the summary of hospitals outside the study is of no declared set
        members = sites.get(name, everybody)
        held = [site for site in members if site in {row.site for row in own}]
        lines = tuple(_line(site, [r for r in own if r.site == site], shown) for site in held)
        lines += tuple(summary_lines(own, shown))
        missing = [site for site in members if site not in held]
        warnings = interval_warnings([(row.site, row) for row in own])
        note = " ".join([*_sites_without(missing), *warnings])
        key = f"site-{name}" if horizon is None else f"site-{name}-{horizon:g}"
        blocks.append(Block(_title(results, name, horizon), note, columns, lines, key))
    return blocks


def _title(results: Results, name: str, horizon: float | None) -> str:
    """Return the title of a test set, with the horizon of its areas where there is one."""
    if horizon is None:
        return set_label(name)
    return f"{set_label(name)}, at {horizon:g} {unit_of(results)}".strip()


def _line(site: str, rows: list[SitePerformance], shown: list[str]) -> Line:
    by_model: dict[str, SitePerformance] = {row.model: row for row in rows}
    cells = [_auc(by_model.get(model)) for model in shown]
    patients = Cell(f"{rows[0].n}, {rows[0].positives}", key="n")
    return Line(site, (patients, *cells), site)


def _sites_without(missing: list[str]) -> list[str]:
    if not missing:
        return []
    return [
        f"No AUC of {words.join(missing)}: too few patients there, with or without the finding."
    ]
