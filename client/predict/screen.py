"""What the person at the keyboard sees of a prediction."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from client.predict.outcome import Outcome
from client.predict.scoring import Prediction
from client.predict.words import RESEARCH, label_of


def show(outcome: Outcome, console: Console) -> None:
    """Every patient with every model, and all that must be read with it."""
    opened = outcome.opened
    console.print(f"[bold red]{RESEARCH}[/bold red]", highlight=False)
    told = f"study {opened.study.name}, {opened.study.endpoint}; bundle {opened.digest[:16]}"
    console.print(escape(told), highlight=False)
    if opened.signed_by:
        console.print(f"signature verified, key {opened.signed_by}", highlight=False)
    for warning in outcome.warnings:
        console.print(f"[bold red]warning[/bold red] {escape(warning)}", highlight=False)
    for prediction in outcome.predictions:
        _show_patient(prediction, console)
    for problem in outcome.problems:
        console.print(f"[red]refused[/red] {escape(str(problem))}", highlight=False)
    counts = outcome.counts
    if counts["read"] > 1:
        told = ", ".join(f"{number} {what}" for what, number in counts.items())
        console.print(f"patients: {told}", highlight=False)


def _show_patient(prediction: Prediction, console: Console) -> None:
    table = Table(title=escape(prediction.case.patient_id), title_justify="left")
    for name in ("model", "probability", "cut-off", "risk"):
        table.add_column(name, justify="right" if name in ("probability", "cut-off") else "left")
    for score in prediction.scores:
        cut = f"{score.cutoff:.4f}"
        if score.probability is None:
            table.add_row(label_of(score.model), "-", cut, f"no {', no '.join(score.lacks)}")
            continue
        colour = "red" if score.group == "high" else "blue"
        group = f"[{colour}]{score.group}[/{colour}]"
        table.add_row(label_of(score.model), f"{score.probability:.4f}", cut, group)
    console.print(table)
    for one in prediction.outside:
        console.print(f"[yellow]outside[/yellow] {escape(str(one))}", highlight=False)
    for note in prediction.notes:
        console.print(f"[yellow]note[/yellow] {escape(note)}", highlight=False)
