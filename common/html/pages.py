"""Render a page from the templates of its room and the base page, table and figure of this one.

Whatever a page is given is escaped, and a name that a template asks for in vain is an error.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import cache

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from common.html.drawing import Drawing, inline


@dataclass(frozen=True)
class Cell:
    """Text of a table cell, a second line under it, and a key by which tests find it.

    `order` is what to sort by where the text is no plain number, `link` the address of another
    page of the same run.
    """

    text: str
    small: str = ""
    key: str = ""
    strong: bool = False
    order: float | None = None
    link: str = ""


@dataclass(frozen=True)
class Line:
    """A table row: its heading and its cells; a pinned one stays last when others are sorted."""

    head: str
    cells: tuple[Cell, ...]
    key: str = ""
    pinned: bool = False


@dataclass(frozen=True)
class Block:
    """A table: title, sentence under it, column headings, rows.

    `widths` are the columns' shares of the page, for cells of sentences rather than numbers.
    """

    title: str
    note: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    key: str = ""
    sortable: bool = True
    widths: tuple[float, ...] = ()


def render(room: str, template: str, /, **facts: object) -> str:
    """Return a page as text.

    Parameters
    ----------
    room : package whose folder `templates` holds the template, such as `server.report`.
    facts : what the template names.
    """
    return _environment(room).get_template(template).render(facts)


@cache
def _environment(room: str) -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(room), PackageLoader(__package__)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"inline": _svg, "source": _source, "marked": _marked}
    return environment


def _svg(drawing: Drawing) -> Markup:
    # matplotlib escapes what it writes into SVG text
    return Markup(inline(drawing))  # noqa: S704


def _marked(text: str) -> Markup:
    """Escape a text, and show what stands between backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704


def _source(text: str) -> Markup:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Markup(f"'sha256-{digest}'")  # noqa: S704 - base 64


def policy_source(page: str, element: str) -> str:
    """Return the source expression of a page's one `style` or `script` for a security policy."""
    (text,) = re.findall(f"<{element}>(.*?)</{element}>", page, re.DOTALL)
    return _source(text)
