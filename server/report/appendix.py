"""The back of the page: selection, training, fusion, network traffic, refusals, times, versions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from common.disclosure.rule import RULES, patients_of
from common.html.pages import Block, Cell, Line
from server.report import words
from server.report.privacy_records import Transfer
from server.report.reading import main_run, runs
from server.report.schema import Results
from server.report.selection_records import Cox, Selection

WHOLE = "whole study"  # wall-clock time of the command, not a phase to be added
HELD_OUT = (
    ("validation_loss", "Loss that chose the round"),
    ("held_out_loss", "Loss on the fold left out"),
)


def selection_block(results: Results) -> Block | None:
    """Return how many features were left after each step, by model."""
    models = results.selection.get(main_run(results), {})
    used = [s for s in words.STEP_LABELS if any(left(chosen, s) for chosen in models.values())]
    if not used:
        return None
    lines = tuple(
        Line(
            words.model_label(model),
            (
                *(Cell(left(chosen, step) or words.MISSING) for step in used),
                Cell(words.compact(chosen.alpha)),
                Cell(words.compact(_cost(chosen))),
            ),
        )
        for model, chosen in models.items()
    )
    columns = ("Model", *(words.STEP_LABELS[s] for s in used), "LASSO penalty")
    cox = any(chosen.cox for chosen in models.values())
    return Block("", "", (*columns, "Cox cost" if cox else "SVM cost"), lines)


def _cost(chosen: Selection) -> float | None:
    """Return the cost of the machine or Cox model."""
    model = chosen.cox or chosen.svm
    return model.cost if model else None


def left(chosen: Selection, step: str) -> str:
    """Return the features left after a step as text; empty when the model has no such step."""
    before: int | None = None
    for found in chosen.steps:
        left = found.size
        if found.step in ("constant", "rare") and left is not None:
            left = None if before is None else before - left
        if found.step == step:
            return "" if left is None else str(left)
        before = left if left is not None else before
    return ""


def selection_notes(results: Results) -> list[str]:
    """Return the notes of the selection, by model."""
    models = results.selection.get(main_run(results), {})
    return [
        f"{words.model_label(model)}: {note.rstrip('.')}."
        for model, chosen in models.items()
        for note in chosen.notes
        if note
    ]


def fusion_block(results: Results) -> Block | None:
    """Return the stackers that were compared for decision fusion, or its Cox model's weights."""
    fusion = results.fusion.get(main_run(results))
    if fusion is not None and fusion.cox is not None:
        return _hazards_block(fusion.cox)
    if fusion is None or not fusion.candidates:
        return None
    lines = tuple(
        Line(
            words.STACKER_LABELS.get(one.name, words.humanise(one.name)),
            (Cell(words.auc(one.cv_auc)), Cell("used" if one.name == fusion.used else "")),
        )
        for one in fusion.candidates
    )
    return Block("", "", ("Stacker", "Cross-validated AUC", ""), lines)


def _hazards_block(cox: Cox) -> Block:
    """Return the weight of every base model in the fusion of risks."""
    lines = tuple(
        Line(
            words.model_label(name),
            (Cell(words.number(weight)), Cell(words.number(math.exp(weight)))),
        )
        for name, weight in cox.log_hazard_ratios.items()
    )
    note = (
        f"Inverse ridge penalty {words.compact(cox.cost)}; logarithm of the cumulative baseline"
        f" hazard at the horizon {words.number(cox.baseline)}."
    )
    return Block("", note, ("Base model", "Log hazard ratio", "Hazard ratio"), lines)


def training_block(results: Results) -> Block | None:
    """Return rounds and losses of every training of every network, a line each."""
    trained = [
        (f"{words.model_label(network)}, {words.variant_label(variant)}", series)
        for network, variants in results.training.get(main_run(results), {}).items()
        for variant, series in variants.items()
    ]
    if not trained:
        return None
    heads = ["Training", "Rounds", "Rounds kept", "Training loss"]
    measured = [(name, head) for name, head in HELD_OUT if any(own.get(name) for _, own in trained)]
    lines = tuple(
        Line(
            label,
            (
                Cell(str(len(series.get("train_loss", ())))),
                Cell(_last(series, "best_round", digits=0)),
                *(_ends(series, name) for name in ("train_loss", *(name for name, _ in measured))),
            ),
        )
        for label, series in trained
    )
    return Block("", "", (*heads, *(head for _, head in measured)), lines)


def _last(series: Mapping[str, Sequence[float | None]], name: str, digits: int = 3) -> str:
    return words.number(next(iter(series.get(name, ())[-1:]), None), digits)


def _ends(series: Mapping[str, Sequence[float | None]], name: str) -> Cell:
    """Write the last value of a series, and the first below it if there are several."""
    values = series.get(name, ())
    first = f"first {words.number(values[0])}" if len(values) > 1 else ""
    return Cell(_last(series, name), first)


def privacy_block(results: Results) -> Block | None:
    """Return epsilon of every site's patients, in the main run."""
    rows = [row for row in results.privacy if row.run == main_run(results)]
    if not rows:
        return None
    lines = tuple(
        Line(
            row.site,
            (
                Cell(f"{row.epsilon:.2f}"),
                Cell(f"{row.delta:g}"),
                Cell(f"{row.noise_multiplier:g}"),
            ),
        )
        for row in rows
    )
    return Block("", "", ("Site", "Epsilon", "Delta", "Noise multiplier"), lines)


def transfer_blocks(results: Results) -> list[Block]:
    """Return messages and bytes of the main run: by site, kind of message and phase."""
    rows = [row for row in results.transfers if row.run == main_run(results)]
    if not rows:
        return []
    return [
        # a site is asked once a round, or not at all
        _traffic("Site", rows, lambda row: row.site, rounds=False),
        _traffic("Kind of message", rows, lambda row: words.exchange_label(row.exchange)),
        _traffic("Phase", rows, lambda row: words.phase_label(row.phase)),
    ]


def _traffic(
    title: str, rows: list[Transfer], key: Callable[[Transfer], str], *, rounds: bool = True
) -> Block:
    groups: dict[str, list[Transfer]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    left_out = 0 if rounds else 1
    lines = [Line(name, _totals(group)[left_out:]) for name, group in groups.items()]
    if len(lines) > 1:
        lines.append(Line("All", _totals(rows)[left_out:], "total", pinned=True))
    titles = ("Rounds", "Messages", "Sent by sites", "Received")[left_out:]
    return Block("", "", (title, *titles), tuple(lines))


def _totals(rows: Iterable[Transfer]) -> tuple[Cell, ...]:
    kept = list(rows)
    rounds = {(row.exchange, row.phase): row.rounds for row in kept}
    return (
        Cell(str(sum(rounds.values()))),
        Cell(str(sum(row.messages for row in kept))),
        _bytes(sum(row.bytes_up for row in kept)),
        _bytes(sum(row.bytes_down for row in kept)),
    )


def _bytes(count: int) -> Cell:
    return Cell(words.size(count), order=float(count))


def ledger_block(results: Results) -> Block | None:
    """Return replies that left each site in the main run, by kind, beside its own ledger."""
    run = main_run(results)
    rows = [row for row in results.transfers if row.run == run]
    if not rows:
        return None
    ledger = {
        site: [r for r in results.ledger if (r.run, r.site) == (run, site)] for site in _sites(rows)
    }
    kinds = list(dict.fromkeys(row.exchange for row in rows))
    lines = []
    for site in _sites(rows):
        by_kind = [[r for r in rows if (r.site, r.exchange) == (site, kind)] for kind in kinds]
        cells = [_released(own) for own in by_kind]
        cells.append(_bytes(sum(row.bytes_up for own in by_kind for row in own)))
        held = [row for row in results.refusals if (row.run, row.site) == (run, site)]
        cells.append(Cell(str(len(held))))
        if results.ledger:
            cells.append(Cell(str(sum(row.released for row in ledger[site]))))
        lines.append(Line(site, tuple(cells), site))
    titles = ["Hospital", *(words.exchange_label(kind) for kind in kinds)]
    titles += ["All bytes", "Held back"] + (["Entries in its own ledger"] if results.ledger else [])
    return Block("", "", tuple(titles), tuple(lines), "ledger")


def _sites(rows: Iterable[Transfer]) -> list[str]:
    return sorted({row.site for row in rows})


def _released(rows: list[Transfer]) -> Cell:
    messages = sum(row.messages for row in rows)
    size = words.size(sum(row.bytes_up for row in rows))
    return Cell(str(messages), size if messages else "")


def refusal_block(results: Results) -> Block | None:
    """Return the releases that disclosure rules of sites held back."""
    if not results.refusals:
        return None
    lines = tuple(
        Line(
            row.site,
            (
                Cell(patients_of(row.subset)),
                Cell(row.rule, _protects(row.rule)),
                Cell(words.MISSING if row.threshold is None else f"{row.threshold:g}"),
                Cell(words.run_label(row.run)),
            ),
        )
        for row in results.refusals
    )
    return Block("", "", ("Site", "Patients", "Rule", "Threshold", "Run"), lines)


def _protects(rule: str) -> str:
    """Say what a disclosure rule protects; nothing for one of another release."""
    return f"protects {RULES[rule].protects}" if rule in RULES else ""


def timing_block(results: Results) -> Block | None:
    """Return seconds of every phase, by run."""
    if not results.timing:
        return None
    timed = list(dict.fromkeys(run for phase in results.timing.values() for run in phase))
    order = [run for run in runs(results) if run in timed]
    order += [run for run in timed if run not in order]
    phases = {phase: t for phase, t in results.timing.items() if phase != WHOLE}
    lines = [
        Line(words.phase_label(phase), tuple(_duration(by_run.get(run)) for run in order))
        for phase, by_run in phases.items()
    ]
    totals = [sum(by_run.get(run, 0.0) for by_run in phases.values()) for run in order]
    if phases:
        lines.append(
            Line("All phases", tuple(_duration(total) for total in totals), "total", pinned=True)
        )
    if WHOLE in results.timing:
        whole = results.timing[WHOLE]
        label = "Whole command, with preparation and references"
        times = tuple(_duration(whole.get(run)) for run in order)
        lines.append(Line(label, times, "total", pinned=True))
    return Block("", "", ("Phase", *(words.run_label(run) for run in order)), tuple(lines))


def _duration(seconds: float | None) -> Cell:
    return Cell(words.MISSING if seconds is None else words.duration(seconds), order=seconds)


def facts(results: Results) -> list[tuple[str, str]]:
    """Return everything that is needed to run the study again."""
    study, run = results.study, results.run
    trains = [site.name for site in study.sites if site.trains]
    tests = [site.name for site in study.sites if not site.trains]
    pairs = [
        ("Study", study.name),
        ("Endpoint", study.endpoint),
        ("Sites that train", ", ".join(trains)),
        ("Sites that only test", ", ".join(tests)),
        ("Study digest (SHA-256)", study.digest),
        ("Random seed", str(study.seed)),
        ("Engine", run.engine),
        ("Machine", run.machine),
        ("Started", run.started),
        ("Finished", run.finished),
        ("Software", run.software),
        ("Packages", ", ".join(f"{name} {version}" for name, version in results.software.items())),
        ("Schema of results.json", str(results.schema_number)),
    ]
    return [(name, value) for name, value in pairs if value]
