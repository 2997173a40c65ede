"""A few words beside the heading of every part of the page that is folded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from server.report import words
from server.report.appendix import WHOLE
from server.report.patients import set_total
from server.report.reading import main_run, sets
from server.report.schema import Results


def digests(results: Results) -> dict[str, str]:
    """Return the words by the part's id in the template `report.html`."""
    return {part: words_of(results) for part, words_of in _PARTS.items()}


def _participants(results: Results) -> str:
    known = [count.n for name in sets(results) if (count := set_total(results, name))]
    left_out = sum(one.excluded for one in results.participants)
    hospitals = words.count_word(len(results.participants), "hospital")
    if None in known:
        return f"{hospitals}, {left_out} patients left out"
    return f"{sum(filter(None, known))} patients at {hospitals}, {left_out} left out"


def _table1(results: Results) -> str:
    return words.count_word(len({row.variable for row in results.table1}), "characteristic")


def _selection(results: Results) -> str:
    found = [
        f"{words.lowered(words.model_label(model))} {step.size}"
        for model, chosen in results.selection.get(main_run(results), {}).items()
        for step in chosen.steps
        if step.step == "lasso" and step.size is not None
    ]
    return f"features kept: {', '.join(found)}" if found else ""


def _fusion(results: Results) -> str:
    fusion = results.fusion.get(main_run(results))
    return words.STACKER_LABELS.get(fusion.used, fusion.used).lower() if fusion else ""


def _traffic(results: Results) -> str:
    run = main_run(results)
    rows = [row for row in results.transfers if row.run == run]
    up, down = sum(row.bytes_up for row in rows), sum(row.bytes_down for row in rows)
    return f"{words.size(up)} from the hospitals, {words.size(down)} to them"


def _refusals(results: Results) -> str:
    found = len({(row.site, row.rule, row.subset) for row in results.refusals})
    return words.count_word(found, "release") if found else "nothing"


def _timing(results: Results) -> str:
    run = main_run(results)
    whole = results.timing.get(WHOLE, {}).get(run)
    phases = sum(by_run.get(run, 0.0) for name, by_run in results.timing.items() if name != WHOLE)
    return words.duration(phases if whole is None else whole)


def _facts(results: Results) -> str:
    return f"seed {results.study.seed}, digest of the study, versions"


_PARTS: Final[Mapping[str, Callable[[Results], str]]] = {
    "participants": _participants,
    "table1": _table1,
    "selection": _selection,
    "fusion": _fusion,
    "transfers": _traffic,
    "refusals": _refusals,
    "timing": _timing,
    "facts": _facts,
}
