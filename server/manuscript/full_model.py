"""The final models on paper: every fitted number of every step, so that a reader can apply them.

TRIPOD+AI item 22. Matrices too large to print are named with their shape; they are in the bundle.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.bundle.bundle import Bundle
from common.html.pages import Block, Cell, Line
from common.models import MODELS
from common.transforms.columns import Select
from common.transforms.views import ByFold, Joined, Paired, Table, View
from server.report import words

MOST_PRINTED = 4096
"""Entries of an array that are printed one by one."""
COLUMNS = ("model", "part", "step", "does", "column", "quantity", "value")


@dataclass(frozen=True)
class Printed:
    """One number of one step.

    Parameters
    ----------
    part : place of the view within the model, such as "1.2"; empty for the model itself.
    step : place among the steps of that view, counted from one.
    does : name of the step.
    column : the input column it belongs to; empty where it belongs to the step.
    value : number, or the shape of what is not printed.
    """

    model: str
    part: str
    step: int
    does: str
    column: str
    quantity: str
    value: float | str


def printed(bundle: Bundle) -> list[Printed]:
    """Return every fitted number of all models, in the order in which they are applied."""
    return [one for name, view in bundle.models.items() for one in _of_view(name, view, "")]


def rows(found: list[Printed]) -> list[list[object]]:
    """Return them as lines of a CSV file, headings first."""
    body = [[getattr(one, column) for column in COLUMNS] for one in found]
    return [list(COLUMNS), *body]


def _of_view(model: str, view: View, part: str) -> Iterator[Printed]:
    yield Printed(model, part, 0, "source", "", "table", _source(view.source))
    if isinstance(view.source, Joined | ByFold):
        for number, inner in enumerate(view.source.parts, 1):
            yield from _of_view(model, inner, f"{part}.{number}" if part else str(number))
    for number, step in enumerate(steps_of(view), 1):
        for column, quantity, value in _numbers(step):
            yield Printed(model, part, number, type(step).__name__, column, quantity, value)


def steps_of(view: View) -> list[Any]:
    """Return the steps of a view one by one, without those that only choose columns."""
    return [step for outer in view.transforms for step in _flat(outer)]


def _flat(step: Any) -> Iterator[Any]:
    inner = getattr(step, "steps", None)
    if inner is not None:
        for one in inner:
            yield from _flat(one)
    elif not isinstance(step, Select):
        yield step


def _source(source: Any) -> str:
    if isinstance(source, Table):
        return source.name
    if isinstance(source, Paired):
        return source.first.name
    kind = "the fold's own" if isinstance(source, ByFold) else "side by side"
    return f"{len(source.parts)} views, {kind}"


def _numbers(step: Any) -> Iterator[tuple[str, str, float | str]]:
    columns: tuple[str, ...] = getattr(step, "columns", ())
    for field in dataclasses.fields(step):
        value = getattr(step, field.name)
        if field.name == "columns":
            continue
        if isinstance(value, np.ndarray) and value.dtype != np.uint8:
            yield from _array(value, field.name, columns)
        elif isinstance(value, int | float):
            yield "", field.name, float(value)
        elif isinstance(value, tuple) and all(isinstance(one, str) for one in value):
            for one in value:
                yield one, field.name, 1.0
        elif isinstance(value, str):
            yield "", field.name, value
        else:
            yield "", field.name, "in the bundle"


def _array(
    value: np.ndarray[Any, Any], name: str, columns: tuple[str, ...]
) -> Iterator[tuple[str, str, float | str]]:
    if value.size > MOST_PRINTED or value.ndim > 2:
        yield "", name, f"{' x '.join(map(str, value.shape))} numbers in the bundle"
        return
    of_columns = len(value) == len(columns)
    for i, entry in enumerate(value):
        column = columns[i] if of_columns else ""
        label = name if of_columns else f"{name}[{i}]"
        if value.ndim == 1:
            yield column, label, float(entry)
        else:
            for j, number in enumerate(entry):
                yield column, f"{label}[{j}]", float(number)


def blocks(bundle: Bundle) -> list[Block]:
    """Return a table for each model: a line for each column, and one for the step's own numbers."""
    found = printed(bundle)
    return [_block(name, view, found, bundle) for name, view in bundle.models.items()]


def _block(name: str, view: View, found: list[Printed], bundle: Bundle) -> Block:
    own = [one for one in found if one.model == name and one.part == "" and one.step]
    steps = [f"{i}. {type(s).__name__}: {_words(s)}" for i, s in enumerate(steps_of(view), 1)]
    cutoff = bundle.cutoffs.get(name)
    note = f"Starts from {_source(view.source)}. {' '.join(steps)}"
    if cutoff is not None:
        note += f" Cut-off {cutoff:.6g}."
    table = _by_column([one for one in own if one.column])
    alone = [one for one in own if not one.column]
    quantities = list(dict.fromkeys(key for values in table.values() for key in values))
    if len(quantities) > 12:  # knots of ranks fill a page: they are in the CSV file
        quantities = [key for key in quantities if "[" not in key]
    lines = [
        Line(column, tuple(Cell(_digits(values.get(key))) for key in quantities))
        for column, values in table.items()
    ]
    width = max(1, len(quantities))
    for one in alone[:20]:
        cells = (Cell(_digits(one.value)), *(Cell("") for _ in range(width - 1)))
        lines.append(Line(f"({one.step}. {one.does}: {one.quantity})", cells))
    label = MODELS[name].label if name in MODELS else words.humanise(name)
    return Block(label, note, ("Column", *(quantities or ["value"])), tuple(lines), sortable=False)


def _by_column(found: list[Printed]) -> Mapping[str, dict[str, float | str]]:
    table: dict[str, dict[str, float | str]] = {}
    for one in found:
        table.setdefault(one.column, {})[f"{one.step}. {one.quantity}"] = one.value
    return table


def _words(step: Any) -> str:
    """Return the first line of the step's documentation, which says what it does."""
    return (type(step).__doc__ or type(step).__name__).strip().splitlines()[0]


def _digits(value: float | str | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.6g}".replace("-", words.MINUS)
