"""The general dossier, which holds for every study: rules, messages, statistics and attacks."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import re
import tomllib
import types
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from common.disclosure.rule import RULES, rules_of
from common.dossier.markdown import code, document, table
from common.messages.exchanges import CATALOGUE, REPLIES_IN_PLACE
from common.statistics.base import statistic_classes
from common.study.model import FEWEST_MASKED, PrivacySettings

_PACKAGE = "common.dossier"
HEAD = """\
# Privacy dossier

For the privacy officer of a hospital that is asked to take part: two pages, then an annex. A number
in brackets is a test in the [list](#tests-that-show-it) that shows the sentence; `[open]` marks a
sentence that no test shows. Each study has such pages of its own: `fedlnm-site approve STUDY.toml`
shows them, and every run has a `privacy-dossier.md` in its folder."""
ANNEX = """\
# Annex

For readers who want to know everything that can leave: rules, messages, statistics and attacks. It
is made from the program itself by `make dossier`, and a test fails when it no longer fits."""
NOT_MEASURED = "not measured in this release"
RULE_WORDS = """\
A hospital checks them on its own machine before it answers. Thresholds that are settings stand in
the study file; a hospital's own file can only make them stricter. The values here are those of the
release."""
STATISTICS = """\
A hospital computes a statistic from its rows and sends its parts, end to end, as numbers of the
ring. The coordinator adds the answers and reads the total. *Masked: yes* means: where the set of
patients lies at three hospitals or more and the study masks. The dossier of a study says for each
set whether that is so."""
ALONE = "no, as it is only asked of a set that one hospital holds alone"
MASKED = "yes"
_SCALARS = {str: "text", int: "whole number", float: "number", bool: "yes or no"}


# -- words, kept as data beside this module --------------------------------------------------------


@dataclass(frozen=True)
class MessageText:
    """Words for one class that travels.

    Parameters
    ----------
    fields : meaning of every field.
    masked : fields that are masked.
    attack : of an answer, possible misuse.
    """

    fields: dict[str, str]
    masked: tuple[str, ...] = ()
    attack: str = ""


@dataclass(frozen=True)
class RuleText:
    """Names of rules in `common.disclosure`, by the questions they are checked for."""

    every_sum: tuple[str, ...]
    training_sum: tuple[str, ...]
    messages: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Attack:
    """An attack that was or could be tried; `result` is empty until it was measured."""

    name: str
    attack: str
    setting: str
    result: str
    source: str


def text_of(name: str) -> str:
    """Read a file of this package."""
    return resources.files(_PACKAGE).joinpath(name).read_text(encoding="utf-8")


def message_texts() -> dict[str, MessageText]:
    """Read the words for messages, by class name."""
    found = tomllib.loads(text_of("fields.toml"))
    return {
        name: MessageText(
            fields=own["fields"],
            masked=tuple(own.get("masked", ())),
            attack=own.get("attack", ""),
        )
        for name, own in found.items()
    }


def rule_text() -> RuleText:
    """Read which rules are checked when."""
    found = tomllib.loads(text_of("rules.toml"))
    return RuleText(
        every_sum=tuple(found["every_sum"]),
        training_sum=tuple(found["training_sum"]),
        messages={name: tuple(own) for name, own in found["messages"].items()},
    )


def attacks() -> tuple[Attack, ...]:
    """Read the attacks, in the order they are shown."""
    return tuple(Attack(**entry) for entry in json.loads(text_of("attacks.json")))


# -- the dossier ---------------------------------------------------------------------------------


def general_dossier() -> str:
    """Write the dossier as Markdown."""
    return document(
        HEAD,
        two_pages(),
        ANNEX,
        tests_section(),
        rules_section(),
        messages_section(),
        statistics_section(),
        attacks_section(),
        text_of("words.md"),
    )


def two_pages() -> str:
    """Write what a privacy officer reads to the end."""
    return with_numbers(document(*plain_words().values())).rstrip("\n")


def plain_words() -> dict[str, str]:
    """Return the sections of the two pages by heading, with the names of tests."""
    text = text_of("plain_words.md").format(fewest_masked=FEWEST_MASKED)
    sections = [f"## {own}" for own in text.split("## ")[1:]]
    return {own.partition("\n")[0].removeprefix("## "): own.rstrip("\n") for own in sections}


# -- rules ----------------------------------------------------------------------------------------


def rules_section() -> str:
    """List every rule with the threshold that the release has."""
    defaults = PrivacySettings()
    rows = []
    for name, rule in RULES.items():
        value = getattr(defaults, rule.setting) if rule.setting else rule.fixed
        threshold = f"{value:g} (`{rule.setting}`)" if rule.setting else _fixed(value)
        rows.append([f"`{name}`", rule.protects, threshold, rule.text])
    return document(
        "## The rules",
        RULE_WORDS,
        table(["rule", "protects", "threshold", "what it says"], rows),
    ).rstrip("\n")


def _fixed(value: float) -> str:
    """Write a threshold without a setting; 0 and 1 stand for no and yes."""
    return f"{value:g} (fixed)" if value > 1 else "no number"


# -- messages -------------------------------------------------------------------------------------


def travelling_classes() -> dict[str, type[Any]]:
    """List requests, replies and all plain classes inside them, by name, as they are mentioned."""
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
    """Return the declared type of every field."""
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def type_words(hint: Any) -> str:
    """Put a declared type into words."""
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
    return f"[{hint.__name__}](#{_anchor(hint)})"


def _anchor(cls: type[Any]) -> str:
    """Return the heading that a class is described under: of its exchange, or its own."""
    for name, exchange in CATALOGUE.items():
        if cls in (exchange.request, exchange.reply):
            return name.replace(".", "")
    return cls.__name__.lower()


def messages_section() -> str:
    """List all exchanges, then the parts that messages are made of."""
    texts, checked = message_texts(), rule_text().messages
    blocks = ["## The messages, field by field"]
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


# -- statistics -----------------------------------------------------------------------------------


def first_sentence(cls: type[Any]) -> str:
    """Return the first sentence of a docstring, on one line."""
    paragraph = (inspect.getdoc(cls) or "").split("\n\n")[0].replace("\n", " ")
    # not behind the first of "0 ... 3"
    return re.split(r"(?<=[^.]\.) ", paragraph)[0]


def rounding(step: float) -> str:
    """Describe the largest rounding of a part: a power of two, or whole numbers."""
    if step == 0.5:
        return "none (whole numbers)"
    return f"2^{round(math.log2(step))}"


def axes(shape: tuple[str, ...]) -> str:
    """Write a declared shape for readers: "folds x columns (columns + 1) / 2"."""
    several = len(shape) > 1
    return " x ".join(
        f"({axis})" if several and "+" in axis and "*" not in axis else axis.replace(" * (", " (")
        for axis in shape
    )


def statistics_section() -> str:
    """List all statistics, in order of their names."""
    rules = rule_text()
    blocks = [
        "## The statistics",
        STATISTICS,
        f"Checked before every sum: {code(rules.every_sum)}; before every sum over training"
        f" patients also {code(rules.training_sum)}. What else is checked stands with each"
        " statistic.",
    ]
    for name, cls in statistic_classes().items():
        blocks += [f"### {name}", _statistic(cls)]
    return document(*blocks).rstrip("\n")


def _statistic(cls: type[Any]) -> str:
    bits = getattr(cls, "bits", {})
    parts = table(
        ["part", "numbers", "ring", "rounding"],
        [
            [f"`{part}`", axes(cls.axes[part]), f"{bits.get(part, 64)} bits", rounding(step)]
            for part, step in cls.step.items()
        ],
    )
    alone = getattr(cls, "alone", False)
    rules = code(rule.name for rule in rules_of(cls.kind))
    return document(
        f"{cls.about} In the code: *{_plain(first_sentence(cls))}*",
        parts,
        f"Rules: {rules}. Masked: {ALONE if alone else MASKED}.",
        f"What an attacker could do: {cls.attack}",
    )


def _plain(sentence: str) -> str:
    """Escape marks that would end the emphasis."""
    return sentence.replace("*", "\\*")


# -- attacks --------------------------------------------------------------------------------------


def attacks_section() -> str:
    """List the attacks and, where measured, how far they came."""
    rows = [
        [one.attack, one.setting, f"{one.result} ({one.source})" if one.result else NOT_MEASURED]
        for one in attacks()
    ]
    return document(
        "## Attacks that were tried",
        "What somebody who holds the numbers could try, and how far it came. Tests of this"
        " repository repeat every figure; where there is none, nothing is claimed.",
        table(["attack", "setting", "result"], rows),
    ).rstrip("\n")


OPEN = "open"
REFERENCE = re.compile(r"\[(@\w+(?: @\w+)*)\]")
LIST = """\
A number in brackets on the first pages stands for one of these tests of the program, as FILE::TEST.
`pytest FILE::TEST` runs it in a checkout of the release."""


def tests_by_name() -> dict[str, str]:
    """Return the tests as `file::test` in the order of their numbers, by name."""
    text = resources.files("common.dossier").joinpath("shown_by.toml").read_text(encoding="utf-8")
    return {name: str(test) for name, test in tomllib.loads(text).items()}


def with_numbers(text: str) -> str:
    """Put numbers in place of names: `[@masked @alone]` becomes `[14, 17]`.

    Raises
    ------
    KeyError : a name that has no test.
    """
    numbers = {f"@{name}": number for number, name in enumerate(tests_by_name(), 1)}

    def numbered(found: re.Match[str]) -> str:
        names = found[1].split()
        if names == [f"@{OPEN}"]:
            return f"[{OPEN}]"
        return f"[{', '.join(map(str, sorted(numbers[name] for name in names)))}]"

    return REFERENCE.sub(numbered, text)


def tests_section() -> str:
    """List the tests with their numbers."""
    rows = [[str(number), f"`{test}`"] for number, test in enumerate(tests_by_name().values(), 1)]
    return document("## Tests that show it", LIST, table(["number", "test"], rows)).rstrip("\n")
