"""The five exchanges field by field, from the classes that travel."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from common.dossier.markdown import code, document, table
from common.dossier.texts import MessageText, message_texts, rule_text
from common.messages.exchanges import CATALOGUE, REPLIES_IN_PLACE

_SCALARS = {str: "text", int: "whole number", float: "number", bool: "yes or no"}


def travelling_classes() -> dict[str, type[Any]]:
    """Requests, replies and all plain classes inside them, by name, in the order of mention."""
    found: dict[str, type[Any]] = {}
    waiting = [c for exchange in CATALOGUE.values() for c in (exchange.request, exchange.reply)]
    waiting += REPLIES_IN_PLACE
    while waiting:
        cls = waiting.pop(0)
        if cls.__name__ not in found:
            found[cls.__name__] = cls
            for hint in fields_of(cls).values():
                waiting.extend(_classes_in(hint))
    return found


def fields_of(cls: type[Any]) -> dict[str, Any]:
    """Declared type of every field."""
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def type_words(hint: Any) -> str:
    """A declared type in words."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return "one of several"
    if origin in (Union, types.UnionType):
        return " or ".join("nothing" if i is type(None) else type_words(i) for i in inner)
    if origin is np.ndarray:
        return f"array of {np.dtype(get_args(inner[1])[0])}"
    if origin is dict:
        return f"by name: {type_words(inner[1])}"
    if origin is tuple and inner[1:] == (Ellipsis,):
        return f"list of {type_words(inner[0])}"
    if origin is tuple:
        return ", ".join(type_words(part) for part in inner)
    if hint in _SCALARS:
        return _SCALARS[hint]
    return f"[{hint.__name__}](#{hint.__name__.lower()})"


def messages_section() -> str:
    """All exchanges, then the parts that messages are made of."""
    texts, checked = message_texts(), rule_text().messages
    blocks = ["## The five messages, field by field"]
    shown: set[str] = set()
    for name, exchange in CATALOGUE.items():
        rules = code(checked[name])
        blocks += [
            f"### {name}",
            f"Purpose: {exchange.purpose}. "
            + (f"Checked before the answer: {rules}." if rules else "Rules: see each statistic."),
            "The question. The coordinator writes it, the hospitals asked read it.",
            _fields(exchange.request, texts),
            _answer(texts[exchange.reply.__name__]),
            _fields(exchange.reply, texts),
            f"What an attacker could do: {texts[exchange.reply.__name__].attack}",
        ]
        shown |= {exchange.request.__name__, exchange.reply.__name__}
    blocks += ["### Answers in place of any other"]
    for cls in REPLIES_IN_PLACE:
        blocks += [f"`{cls.__name__}`", _fields(cls, texts)]
        shown.add(cls.__name__)
    blocks += [
        "### Parts of messages",
        "They travel inside the messages above, and are read by whoever reads these.",
    ]
    for name, cls in travelling_classes().items():
        if name not in shown:
            blocks += [f"#### {name}", _fields(cls, texts)]
    return document(*blocks).rstrip("\n")


def _answer(text: MessageText) -> str:
    words = "The answer. The hospital writes it, the coordinator reads it."
    return words if text.masked else f"{words} No field is masked."


def _fields(cls: type[Any], texts: dict[str, MessageText]) -> str:
    text = texts[cls.__name__]
    rows = [[f"`{f}`", type_words(hint), text.fields[f]] for f, hint in fields_of(cls).items()]
    if not text.masked:
        return table(["field", "type", "what it is"], rows)
    marked = [
        [*row[:2], "yes" if name in text.masked else "no", row[2]]
        for row, name in zip(rows, fields_of(cls), strict=True)
    ]
    return table(["field", "type", "masked", "what it is"], marked)


def _classes_in(hint: Any) -> Iterator[type[Any]]:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        yield hint
    for inner in get_args(hint):
        yield from _classes_in(inner)
