"""Every statistic of the registry: what it is, its parts, its rules, what could be done with it."""

from __future__ import annotations

import inspect
import math
import re
from typing import Any

from common.dossier.markdown import code, document, table
from common.dossier.texts import RuleText, StatisticText, rule_text, statistic_texts
from common.statistics.registry import statistic_classes
from common.statistics.site_quartiles import SiteQuartiles
from common.statistics.table1 import JoinedHistogram, ProtectedLevelCounts

INTRODUCTION = """\
A hospital computes a statistic from its rows and sends its parts, end to end, as numbers of the
ring. The coordinator adds the answers and reads the total. *Masked: yes* means: where the set of
patients lies at three hospitals or more and the study masks. The dossier of a study says for each
set whether that is so."""
ALONE = "no, as it is only asked of a set that one hospital holds alone"
MASKED = "yes"


def rules_of(statistic: Any, text: RuleText) -> tuple[str, ...]:
    """Names of the rules checked for a statistic, on top of those for every sum."""
    return text.statistics[statistic.rule]


def first_sentence(cls: type[Any]) -> str:
    """Of a docstring, on one line."""
    paragraph = (inspect.getdoc(cls) or "").split("\n\n")[0].replace("\n", " ")
    # not behind the first of "0 ... 3"
    return re.split(r"(?<=[^.]\.) ", paragraph)[0]


def rounding(step: float) -> str:
    """The largest rounding of a part: a power of two, or that it holds whole numbers."""
    if step == 0.5:
        return "none (whole numbers)"
    return f"2^{round(math.log2(step))}"


def axes(shape: tuple[str, ...]) -> str:
    """A declared shape for readers: "folds x columns (columns + 1) / 2"."""
    several = len(shape) > 1
    return " x ".join(
        f"({axis})" if several and "+" in axis and "*" not in axis else axis.replace(" * (", " (")
        for axis in shape
    )


def statistics_section() -> str:
    """All statistics, in order of their names."""
    texts, rules = statistic_texts(), rule_text()
    blocks = [
        "## The statistics",
        INTRODUCTION,
        f"Checked before every sum: {code(rules.every_sum)}; before every sum over training"
        f" patients also {code(rules.training_sum)}. What else is checked stands with each"
        " statistic.",
    ]
    for name, cls in statistic_classes().items():
        blocks += [f"### {name}", _one(cls, texts[name], rules)]
    return document(*blocks).rstrip("\n")


def _one(cls: type[Any], text: StatisticText, rules: RuleText) -> str:
    bits = getattr(cls, "bits", {})
    parts = table(
        ["part", "numbers", "ring", "rounding"],
        [
            [f"`{part}`", axes(text.shapes[part]), f"{bits.get(part, 64)} bits", rounding(step)]
            for part, step in cls.step.items()
        ],
    )
    alone = cls in (JoinedHistogram, ProtectedLevelCounts, SiteQuartiles)
    return document(
        f"{text.about} In the code: *{_plain(first_sentence(cls))}*",
        parts,
        f"Rules: {code(rules_of(cls, rules))}. Masked: {ALONE if alone else MASKED}.",
        f"What an attacker could do: {text.attack}",
    )


def _plain(sentence: str) -> str:
    """Without marks that would end the emphasis."""
    return sentence.replace("*", "\\*")
