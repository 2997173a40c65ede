"""The choices of the study, as tables of the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from common.html.tables import Block, Cell, Line
from server.report import words
from server.report.choices import DIFFERS, GROUPS, Choice, Group, Origin, Values, paper_defaults
from server.report.schema import RecordedColumn, RecordedSettings, Results

KINDS = {
    "continuous": "a number",
    "ordinal": "an order, as 0, 1, 2, ...: {levels}",
    "binary": "{levels}; the first is the reference",
    "categorical": "{levels}; the first is the reference",
}
COLUMNS = ("Choice", "In this study", "The paper")


def settings_blocks(results: Results) -> list[Block]:
    """Return a table a group of choices that count in this study, if it has settings."""
    settings = results.settings
    if settings is None:
        return []
    blocks = [*_groups(settings)]
    columns = _clinical(settings)
    return [blocks[0], columns, *blocks[1:]] if columns else blocks


def settings_sentence(results: Results) -> str:
    """Count the choices that are the paper's, left open, added, or differ from it."""
    if results.settings is None:
        return ""
    found = Counter(_kind(verdict) for verdict in _verdicts(results.settings))
    return (
        f"{found.total()} choices: {found[Origin.PAPER]} the paper's, {found[Origin.OPEN]} left"
        f" open by it, {found[Origin.ADDED]} not in it, most of them as its patients were in one"
        f" place, and {found[DIFFERS]} different from it, in bold."
    )


def remarks(results: Results) -> tuple[str, ...]:
    """Return the remarks on what differs from the paper, or completes it, and is no setting."""
    return results.settings.remarks if results.settings else ()


def radiomics_file(results: Results) -> str:
    """Return the extraction settings, as they stand in their file."""
    return results.settings.radiomics_file.strip() if results.settings else ""


def block_of(settings: RecordedSettings, group: Group) -> Values:
    """Return the recorded settings that the choices of a group are about."""
    values: Values = getattr(settings, group.block) if group.block else settings.__dict__
    return values


def choices_of(settings: RecordedSettings, group: Group) -> Iterator[Choice]:
    """Return the choices of a group that have an effect in a study."""
    if group.counts(settings):
        block = block_of(settings, group)
        yield from (one for one in group.choices if one.known(block) and one.counts(settings))


def _groups(settings: RecordedSettings) -> Iterator[Block]:
    for group in GROUPS:
        lines = tuple(_line(settings, group, choice) for choice in choices_of(settings, group))
        if lines:
            yield Block(group.title, "", COLUMNS, lines, sortable=False)


def _line(settings: RecordedSettings, group: Group, choice: Choice) -> Line:
    block, default = block_of(settings, group), block_of(paper_defaults(), group)
    verdict = choice.verdict(block, default)
    return Line(
        choice.words,
        (
            Cell(choice.in_words(block)),
            Cell(verdict, choice.remark, strong=verdict.startswith(DIFFERS)),
        ),
    )


def _verdicts(settings: RecordedSettings) -> Iterator[str]:
    for group in GROUPS:
        block, default = block_of(settings, group), block_of(paper_defaults(), group)
        for choice in choices_of(settings, group):
            yield choice.verdict(block, default)


def _kind(verdict: str) -> str:
    kinds = (*map(str, Origin), DIFFERS)
    return next(kind for kind in kinds if verdict.startswith(kind))


def _clinical(settings: RecordedSettings) -> Block | None:
    if not settings.clinical:
        return None
    lines = tuple(
        Line(words.humanise(one.name), (Cell(_declared(one)), Cell(_missing(one))))
        for one in settings.clinical
    )
    return Block("Clinical columns", "", ("Column", "What it is", "Missing"), lines, sortable=False)


def _declared(column: RecordedColumn) -> str:
    text = KINDS.get(column.kind, column.kind).format(levels=", ".join(column.levels))
    if column.kind == "continuous":
        text += f" ({column.unit})" if column.unit else ""
        text += ", in Table 1 by median and quartiles" if column.summary == "median" else ""
        if column.decimals is not None:
            text += f", recorded to {words.count_word(column.decimals, 'decimal')}"
    return text


def _missing(column: RecordedColumn) -> str:
    """Return the texts that stand for a missing value, besides the empty cell."""
    return ", ".join(["empty", *column.missing])
