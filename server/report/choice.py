"""One choice of a study in words, and what the paper says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from common.study.model import parse_study
from server.report.recorded_settings import recorded_settings
from server.report.schema_settings import RecordedSettings


class Origin(StrEnum):
    """Where the default of a setting comes from."""

    PAPER = "the paper's"
    OPEN = "left open by the paper"
    ADDED = "not in the paper"


DIFFERS = "differs from the paper"

Values = Mapping[str, Any]


def written(*values: Any) -> str:
    """Values as they stand in the study file, in words where they are yes or no."""
    return ", ".join(_one(value) for value in values)


def _one(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_one, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def always(settings: RecordedSettings) -> bool:
    """For choices that count in every study of their group."""
    return True


@dataclass(frozen=True)
class Choice:
    """Settings of one block that are one choice.

    Parameters
    ----------
    words : its name for a reader.
    keys : of the settings, in the order that `show` takes their values.
    origin : of the default.
    show : the values in words.
    counts : whether it has any effect in a study.
    paper : what the paper has, where the default is not that.
    is_papers : whether values are the paper's, where the default is not that.
    remark : what else is to be said of it.
    """

    words: str
    keys: tuple[str, ...]
    origin: Origin
    show: Callable[..., str] = written
    counts: Callable[[RecordedSettings], bool] = always
    paper: str = ""
    is_papers: Callable[..., bool] | None = None
    remark: str = ""

    def known(self, block: Values) -> bool:
        """Whether a block has all settings of this choice: one of another release may not."""
        return all(key in block for key in self.keys)

    def told(self, block: Values) -> str:
        """The chosen values in words."""
        return self.show(*(block[key] for key in self.keys))

    def verdict(self, block: Values, default: Values) -> str:
        """What the paper says of the choice.

        Parameters
        ----------
        default : the block of a study that names nothing itself.
        """
        own = [block[key] for key in self.keys]
        if self.is_papers is not None:
            return Origin.PAPER if self.is_papers(*own) else f"{DIFFERS}: {self.paper}"
        if own == [default[key] for key in self.keys]:
            return self.origin
        if self.origin is Origin.PAPER:
            return f"{DIFFERS}: {self.told(default)}"
        return f"{self.origin}; default here: {self.told(default)}"


@cache
def paper_defaults() -> RecordedSettings:
    """Settings of a study that names nothing itself, which has the preset `paper`."""
    study = parse_study(
        'preset = "paper"\nname = "paper"\nendpoint = "event"\nsites = [{ name = "a" }]\n'
        'test_sets = []\nclinical = [{ name = "x", kind = "continuous" }]\n'
    )
    return RecordedSettings.model_validate(recorded_settings(study))
