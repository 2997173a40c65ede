"""Tables as a Word document, to be pasted into a manuscript."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from common.html.pages import Block, Cell


def can_write() -> bool:
    """Return whether python-docx is installed; it comes with the extra `manuscript`."""
    return find_spec("docx") is not None


def write_document(path: Path, title: str, lead: str, blocks: Sequence[Block]) -> None:
    """Write a document with a heading, a sentence and all tables, landscape."""
    import docx
    from docx.enum.section import WD_ORIENT
    from docx.shared import Pt

    document = docx.Document()
    section = document.sections[0]
    section.orientation = WD_ORIENT.LANDSCAPE
    section.page_width, section.page_height = section.page_height, section.page_width
    document.styles["Normal"].font.size = Pt(9)
    document.add_heading(title, level=0)
    document.add_paragraph(lead)
    for block in blocks:
        document.add_heading(block.title, level=1)
        if block.note:
            document.add_paragraph(block.note)
        _add_table(document, block)
    document.save(str(path))


def _add_table(document: object, block: Block) -> None:
    grid = [
        list(block.columns),
        *([line.head, *(_text(cell) for cell in line.cells)] for line in block.lines),
    ]
    # each access of a cell by row and column walks over the table: rows are asked once
    table = document.add_table(rows=len(grid), cols=len(block.columns), style="Table Grid")  # type: ignore[attr-defined]
    widths = _widths(document, block)
    for number, (row, texts) in enumerate(zip(table.rows, grid, strict=True)):
        for place, (cell, text) in enumerate(zip(row.cells, texts, strict=True)):
            cell.text = text
            if widths:  # Word takes the width of each cell, other programs that of the columns
                cell.width = widths[place]
            if number == 0:
                for run in cell.paragraphs[0].runs:
                    run.bold = True
    for column, width in zip(table.columns, widths, strict=False):
        column.width = width
    _repeat_heading(table.rows[0])


def _widths(document: object, block: Block) -> list[int]:
    """Return the widths of the columns in EMU, where the block has shares of the page."""
    section = document.sections[0]  # type: ignore[attr-defined]
    room = section.page_width - section.left_margin - section.right_margin
    return [int(share * room) for share in block.widths]


def _repeat_heading(row: object) -> None:
    """Repeat a row at the top of each page that its table goes on over."""
    from docx.oxml import OxmlElement

    row._tr.get_or_add_trPr().append(OxmlElement("w:tblHeader"))  # type: ignore[attr-defined]


def _text(cell: Cell) -> str:
    return f"{cell.text}\n{cell.small}" if cell.text and cell.small else cell.text or cell.small
