"""The dossier's words, kept as data beside the code that they describe."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from importlib import resources

_PACKAGE = "common.dossier"


@dataclass(frozen=True)
class MessageText:
    """Words for one class that travels.

    Parameters
    ----------
    fields : what every field is.
    masked : fields that are masked.
    attack : of an answer, what somebody could do with it.
    """

    fields: dict[str, str]
    masked: tuple[str, ...] = ()
    attack: str = ""


@dataclass(frozen=True)
class StatisticText:
    """Words for one statistic.

    Parameters
    ----------
    about : what it is, for a reader who does not know statistics.
    attack : what somebody could do with it.
    shapes : per part, its axes in words, such as "columns + 1".
    """

    about: str
    attack: str
    shapes: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class RuleText:
    """Names of rules in `common.disclosure`, by what they are checked for."""

    every_sum: tuple[str, ...]
    training_sum: tuple[str, ...]
    messages: dict[str, tuple[str, ...]]
    statistics: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Attack:
    """An attack that was or could be tried; `result` is empty until it was measured."""

    name: str
    attack: str
    setting: str
    result: str
    source: str


def text_of(name: str) -> str:
    """A file of this package."""
    return resources.files(_PACKAGE).joinpath(name).read_text(encoding="utf-8")


def message_texts() -> dict[str, MessageText]:
    """By class name."""
    found = tomllib.loads(text_of("fields.toml"))
    return {
        name: MessageText(
            fields=own["fields"],
            masked=tuple(own.get("masked", ())),
            attack=own.get("attack", ""),
        )
        for name, own in found.items()
    }


def statistic_texts() -> dict[str, StatisticText]:
    """By class name."""
    found = tomllib.loads(text_of("statistics.toml"))
    return {
        name: StatisticText(
            about=own["about"],
            attack=own["attack"],
            shapes={part: tuple(axes) for part, axes in own["shapes"].items()},
        )
        for name, own in found.items()
    }


def rule_text() -> RuleText:
    """Which rules are checked when."""
    found = tomllib.loads(text_of("rules.toml"))
    return RuleText(
        every_sum=tuple(found["every_sum"]),
        training_sum=tuple(found["training_sum"]),
        messages={name: tuple(own) for name, own in found["messages"].items()},
        statistics={name: tuple(own) for name, own in found["statistics"].items()},
    )


def attacks() -> tuple[Attack, ...]:
    """In the order they are shown."""
    return tuple(Attack(**entry) for entry in json.loads(text_of("attacks.json")))
