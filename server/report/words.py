"""Numbers and names as tables, figures and page write them."""

from __future__ import annotations

import math
from datetime import datetime

from common.models import MODELS
from server.progress.screen import PHASES

EN_DASH, MINUS, NO_BREAK = "\N{EN DASH}", "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"
MISSING = EN_DASH
DECODERS = {
    "components": "Components",
    "columns": "Columns",
    "cells": "Intervals",
    "differences": "Differences",
}

STEP_LABELS = {
    "columns": "All features",
    "components": "Principal components",
    "constant": "Without those that never vary",
    "rare": "Without those that nearly never vary",
    "tied": "One value for many patients, left out",
    "spearman": "After the correlation filter",
    "icc": "After the repeatability filter",
    "lasso": "Kept by the LASSO",
}

STACKER_LABELS = {
    "cox": "Cox model on hazards",
    "forest": "Random forest",
    "svm": "Support vector machine",
    "boosting": "Gradient boosting",
}

EXCHANGE_LABELS = {
    "query.enrol": "Names and counts",
    "query.key": "Parts of a key",
    "query.agree": "Key agreed",
    "query.follow": "Answers heard",
    "query.sum": "Sums",
    "train.network": "Network weights",
    "query.sign": "Sum signed",
    "query.open": "Sum opened",
    "query.rows": "Out-of-fold rows",
    "evaluate.handout": "Test measures",
}

MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
COUNT_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def humanise(name: str) -> str:
    """Write a technical name as words: `external_test_1` -> `External test 1`."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def lowered(text: str) -> str:
    """Write a label within a sentence.

    >>> lowered("Feature fusion"), lowered("2D deep learning"), lowered("LASSO penalty")
    ('feature fusion', '2D deep learning', 'LASSO penalty')
    """
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def patients(n: int | None) -> str:
    """Write a number of patients; it may be withheld."""
    return "patients withheld" if n is None else f"{n} patients"


def model_label(model: str) -> str:
    """Write a model's name in words, also that of a network or of a fusion of features."""
    return MODELS[model].label if model in MODELS else humanise(model)


def exchange_label(exchange: str) -> str:
    """Write a kind of message in words."""
    return EXCHANGE_LABELS.get(exchange, exchange)


def phase_label(phase: str) -> str:
    """Write a phase of the study in words."""
    return humanise(PHASES.get(phase, phase))


def variant_label(variant: str) -> str:
    """Write `fold0` as `fold 1`: people count from one."""
    digits = variant.removeprefix("fold")
    return f"fold {int(digits) + 1}" if digits != variant and digits.isdigit() else variant


def run_label(run: str) -> str:
    """Write `local:qilu` as `Only qilu`, `without:qilu` as `Without qilu`; the others in words."""
    for begins, word in (("local:", "Only"), ("without:", "Without")):
        if run.startswith(begins):
            return f"{word} {run.removeprefix(begins)}"
    return {"federated": "Federated", "pooled": "Pooled"}.get(run, run)


def auc(value: float | None) -> str:
    """Write three decimals."""
    return MISSING if value is None else f"{value:.3f}"


def interval(low: float | None, high: float | None) -> str:
    """Write `0.812–0.901`, three decimals each."""
    return MISSING if low is None or high is None else f"{low:.3f}{EN_DASH}{high:.3f}"


def signed_interval(low: float | None, high: float | None) -> str:
    """Write `−0.012 to 0.101`, three decimals each, as a dash would look like a minus."""
    return MISSING if low is None or high is None else f"{number(low)} to {number(high)}"


def p_value(p: float | None) -> str:
    """Write two significant digits; `<0.0001` below, `>0.99` above."""
    if p is None:
        return MISSING
    if p < 0.0001:
        return "<0.0001"
    if p > 0.99:
        return ">0.99"
    return f"{p:.{max(2, 1 - math.floor(math.log10(p)))}f}"


def number(value: float | None, digits: int = 3) -> str:
    """Write fixed decimals with a true minus sign."""
    if value is None:
        return MISSING
    # a number that is zero as written has no sign
    return f"{value:z.{digits}f}".replace("-", MINUS)


def compact(value: float | None) -> str:
    """Write three significant digits, for quantities of any size."""
    return MISSING if value is None else f"{value:.3g}".replace("-", MINUS)


def size(count: int) -> str:
    """Write bytes in decimal units: `176 MB`."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1000
    raise AssertionError("unreachable")


def duration(seconds: float) -> str:
    """Write `3.2 s`, `4 min 05 s`, `2 h 10 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def moment(text: str) -> str:
    """Write an ISO time as `1 January 2024, 09:30 UTC`; anything else as it stands."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return text
    zone = f" {when.tzname()}" if when.tzinfo else ""
    return f"{when.day} {MONTHS[when.month - 1]} {when.year}, {when:%H:%M}{zone}"


def join(parts: list[str]) -> str:
    """Write `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def count_in_words(count: int) -> str:
    """Write `four`, `12`."""
    return COUNT_WORDS[count] if count < len(COUNT_WORDS) else str(count)


def count_word(count: int, noun: str) -> str:
    """Write `one hospital`, `four hospitals`, `12 hospitals`."""
    return f"{count_in_words(count)} {noun if count == 1 else noun + 's'}"
