"""The top of the page: a summary in plain words."""

from __future__ import annotations

from dataclasses import dataclass

from common.models import MODELS
from server.report import words
from server.report.reading import (
    MatrixRow,
    headline_model,
    local_runs,
    main_run,
    models,
    performance_matrix,
    primary,
    runs,
    set_label,
    test_sets,
)
from server.report.schema import Results

ENGINES = {
    "inprocess": "All sites were simulated on one machine, in one process.",
    "flower": "All sites were simulated on one machine by Flower's simulation engine.",
    "deployment": "Every site ran its own node and was reached over the network.",
}


@dataclass(frozen=True)
class Card:
    """The headline model on one set."""

    title: str
    patients: str
    auc: str
    interval: str
    lines: tuple[tuple[str, str], ...]


def paragraphs(results: Results) -> list[str]:
    """Return two or three paragraphs for a reader who reads nothing else."""
    return [text for text in (_what_was_done(results), _what_was_found(results)) if text]


def _what_was_done(results: Results) -> str:
    study = results.study
    training = sum(site.trains for site in study.sites)
    sites = words.count_word(len(study.sites), "hospital").capitalize()
    trained = f"{words.count_in_words(training)} of them trained"
    if training == len(study.sites):
        trained = "all of them trained"
    built = words.count_word(len(models(results)), "model")
    text = (
        f"{sites} took part in the study “{study.name}”; {trained} {built} that predict "
        f"{study.endpoint}. Images and patient records stayed where they are: only the messages "
        "counted below were exchanged."
    )
    engine = ENGINES.get(results.run.engine, f"Engine: {results.run.engine}.")
    synthetic = (
        " The patients are synthetic, so the best AUC that any model could reach is known and"
        " shown as the ceiling."
        if results.ceiling
        else ""
    )
    return f"{text} {engine}{synthetic}"


def _what_was_found(results: Results) -> str:
    model = headline_model(results)
    if model is None:
        return "No model was evaluated in this run."
    rows = _headline_rows(results, model)
    where = "on the test sets" if test_sets(results) else "on the training set (out-of-fold)"
    label = MODELS[model].label.lower()
    text = f"The {label} model stands for the study in the figures that follow, {where}."
    pooled = _mean_difference([(r.federated, r.pooled) for r in rows])
    alone = [
        r.federated.auc - r.local.mean
        for r in rows
        if r.federated is not None and r.federated.auc is not None and r.local is not None
    ]
    if pooled is not None:
        text += f" Its federated AUC was on average {_distance(pooled)} training on pooled data"
        text += (
            f" and {_distance(sum(alone) / len(alone))} hospitals that trained alone."
            if alone
            else "."
        )
    elif alone:
        text += f" Its federated AUC was on average {_distance(sum(alone) / len(alone))}"
        text += " hospitals that trained alone."
    return f"{text} {references_sentence(results)}".strip()


def references_sentence(results: Results) -> str:
    """Name the references that were not run; empty when both were."""
    absent = []
    if "pooled" not in runs(results):
        absent.append("training on pooled data")
    if not local_runs(results):
        absent.append("hospitals training alone")
    if not absent:
        return ""
    return f"The references ({words.join(absent)}) were not run, so their columns are left out."


def cards(results: Results) -> list[Card]:
    """Return one card a test set (the training set when there is none) for the headline model."""
    model = headline_model(results)
    if model is None:
        return []
    run = main_run(results)
    return [_card(results, row, run) for row in _headline_rows(results, model)]


def _headline_rows(results: Results, model: str) -> list[MatrixRow]:
    shown = test_sets(results) or ["train"]
    return [r for r in performance_matrix(results) if r.model == model and r.set in shown]


def _card(results: Results, row: MatrixRow, run: str) -> Card:
    main = primary(row, run)
    lines: list[tuple[str, str]] = []
    if row.pooled is not None and run != "pooled":
        lines.append(("Pooled data", words.auc(row.pooled.auc)))
    if row.local is not None:
        span = words.interval(row.local.low, row.local.high)
        lines.append(("Hospitals alone", f"{words.auc(row.local.mean)} ({span})"))
    ceiling = (results.ceiling or {}).get(row.set)
    if ceiling is not None:
        lines.append(("Ceiling", words.auc(ceiling)))
    if main is None:
        return Card(set_label(row.set), "", words.MISSING, "", tuple(lines))
    positives = "" if main.positives is None else f", {main.positives} positive"
    return Card(
        title=set_label(row.set),
        patients=f"{words.patients(main.n)}{positives}",
        auc=words.auc(main.auc),
        interval=words.interval(main.ci_low, main.ci_high),
        lines=tuple(lines),
    )


def _mean_difference(pairs: list[tuple[object, object]]) -> float | None:
    gaps = []
    for left, right in pairs:
        a, b = getattr(left, "auc", None), getattr(right, "auc", None)
        if a is not None and b is not None:
            gaps.append(a - b)
    return sum(gaps) / len(gaps) if gaps else None


def _distance(gap: float) -> str:
    if abs(gap) < 0.0005:
        return "the same as"
    return f"{abs(gap):.3f} {'above' if gap > 0 else 'below'} that of"
