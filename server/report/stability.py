"""Stability of each model's features: what the selections without each fold have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from common.evaluation.stability import Stability, stability
from common.html.pages import Block, Cell, Line
from server.report import words
from server.report.reading import main_run
from server.report.schema import Results
from server.report.selection_records import FoldSelections, Selection

STABILITY_COLUMNS = ("run", "model", "item", "name", "value", "ci_low", "ci_high", "in_final_model")
_HEADINGS = (
    *("Model", "To choose from", "Kept in a fold", "Kept in every fold"),
    *("Kept by the final model", "Stability (95% CI)"),
)

_NETWORKS = (
    "Every fold has a network of its own, whose features cannot be compared: they are counted in"
    " “Kept in a fold” alone."
)


def index_of(folds: FoldSelections) -> Stability | None:
    """Return Nogueira's index of the columns that are the same in all folds."""
    return stability([set(one) for one in folds.kept], folds.candidates)


def counted(chosen: Selection) -> dict[str, tuple[int, bool]]:
    """Return in how many folds each feature was kept, and whether the final model has it.

    Features kept most often come first. Those of a network trained for each fold are left out.
    """
    if chosen.folds is None:
        return {}
    found = Counter(name for one in chosen.folds.kept for name in one)
    final = _final(chosen)
    ordered = sorted(found, key=lambda name: (-found[name], name not in final, name))
    return {name: (found[name], name in final) for name in ordered}


def _final(chosen: Selection) -> frozenset[str]:
    return frozenset(chosen.coefficients)


def stability_rows(results: Results) -> Iterator[list[str | int | float | None]]:
    """Yield the values of `STABILITY_COLUMNS`, of every run and model."""
    for run, models in results.selection.items():
        for model, chosen in models.items():
            if chosen.folds is None:
                continue
            one = index_of(chosen.folds)
            ends = (one.index, one.low, one.high) if one else (None, None, None)
            yield [run, model, "index", "", *ends, None]
            yield [run, model, "candidates", "", chosen.folds.candidates, None, None, None]
            for fold, (kept, others) in enumerate(
                zip(chosen.folds.kept, chosen.folds.others, strict=True), 1
            ):
                number = len(kept) + others
                yield [run, model, "kept", f"fold {fold}", number, None, None, None]
            for name, (times, final) in counted(chosen).items():
                share = times / len(chosen.folds.kept)
                yield [run, model, "share of folds", name, share, None, None, int(final)]


def stability_block(results: Results) -> Block | None:
    """Return how far the selections of each model agree, in the main run."""
    models = results.selection.get(main_run(results), {})
    lines = tuple(
        _line(words.model_label(model), chosen, chosen.folds)
        for model, chosen in models.items()
        if chosen.folds is not None
    )
    apart = any(chosen.folds and any(chosen.folds.others) for chosen in models.values())
    note = _NETWORKS if apart else ""
    return Block("", note, _HEADINGS, lines, "stability") if lines else None


def _line(label: str, chosen: Selection, folds: FoldSelections) -> Line:
    numbers = [len(kept) + others for kept, others in zip(folds.kept, folds.others, strict=True)]
    low, high = min(numbers, default=0), max(numbers, default=0)
    span = str(low) if low == high else f"{low}{words.EN_DASH}{high}"
    always = sum(times == len(folds.kept) for times, _ in counted(chosen).values())
    one = index_of(folds)
    own = words.MISSING if one is None else words.number(one.index, 2)
    # selections that differ by as much from one another, or not at all, give no width
    interval = "" if one is None or one.low == one.high else _interval(one)
    cells = (
        Cell(str(folds.candidates) if folds.candidates else words.MISSING),
        Cell(span),
        Cell(str(always) if folds.candidates else words.MISSING),
        Cell(str(len(chosen.coefficients))),
        Cell(own, interval),
    )
    return Line(label, cells)


def _interval(one: Stability) -> str:
    return f"{words.number(one.low, 2)} to {words.number(one.high, 2)}"


def frequency_blocks(results: Results) -> list[Block]:
    """Return a table a model: in how many folds each feature was kept, in the main run."""
    blocks = []
    for model, chosen in results.selection.get(main_run(results), {}).items():
        if chosen.folds is None or not any(chosen.folds.kept):
            continue
        folds = len(chosen.folds.kept)
        lines = tuple(
            Line(name, (Cell(f"{times} of {folds}", order=times), Cell("yes" if final else "no")))
            for name, (times, final) in counted(chosen).items()
        )
        columns = ("Feature", "Kept in folds", "In the final model")
        blocks.append(Block(words.model_label(model), "", columns, lines))
    return blocks
