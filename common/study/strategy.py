"""The registry of strategies: what a study may name, what it may set, what cannot go together.

A strategy is one file of the package `strategies`. That package builds on this one, so nothing is
imported from it here: the files are found by the package's name when a strategy is looked up.
"""

from __future__ import annotations

import difflib
import json
import pkgutil
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

from pydantic import ValidationError

from common.study.block import Settings, findings
from common.utils.text_file import on_one_line

PACKAGE = "strategies"


class StrategySpec:
    """The facts about a strategy that reading, checking and describing a study needs.

    Attributes
    ----------
    name : as the study file has it; the name of the strategy's file.
    title, reference : for people.
    summary : what it does, as the rest of a sentence that begins with the title.
    own_options : the keys of `strategy_options` that belong to it.
    single_updates : compares single sites' changes, so that it cannot work under masks.
    private : works with differential privacy. Not where it reads gradients before noise is added.
    sends_control : sites and server send a second vector, as long as the weights, beside them.
    own_layers : what each site keeps for itself, in words; empty where all layers are shared.
    needs_all_sites : why no round can do without a site, as the rest of a sentence; empty where it
        can (`[training] quorum`).
    requires : settings of the network that it needs, each with the reason.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    reference: ClassVar[str]
    summary: ClassVar[str]
    own_options: ClassVar[type[Settings]] = Settings
    single_updates: ClassVar[bool] = False
    private: ClassVar[bool] = True
    sends_control: ClassVar[bool] = False
    own_layers: ClassVar[str] = ""
    needs_all_sites: ClassVar[str] = ""
    requires: ClassVar[Mapping[str, tuple[Any, str]]] = {}


REGISTERED: dict[str, type[StrategySpec]] = {}
"""Strategies whose files have been loaded; `strategies()` has them all."""


def strategies() -> dict[str, type[StrategySpec]]:
    """Return all strategies by name, in the order of their names."""
    for module in pkgutil.iter_modules(import_module(PACKAGE).__path__):
        import_module(f"{PACKAGE}.{module.name}")
    return dict(sorted(REGISTERED.items()))


def forget(name: str) -> None:
    """Take a strategy out again, with its module if it lies in the folder."""
    module = REGISTERED.pop(name).__module__
    sys.modules.pop(module, None)


def find_strategy(name: str) -> type[StrategySpec]:
    """Return the strategy of this name.

    Raises
    ------
    ValueError : no file of `strategies` has one of that name; lists those there are.
    """
    if name not in REGISTERED and name not in (known := strategies()):
        near = difflib.get_close_matches(name, known, n=1)
        hint = f' (did you mean "{near[0]}"?)' if near else ""
        raise ValueError(f"unknown strategy{hint}; the strategies are {', '.join(known)}")
    return REGISTERED[name]


def read_options(name: str, written: Mapping[str, Any]) -> Settings:
    """Return the options of the named strategy out of a study's `strategy_options`.

    Options of other strategies are checked and left out, so that a file may have the options of
    several and change its strategy in one line.

    Raises
    ------
    ValueError : a key that no strategy has, or a value that does not validate.
    """
    own = find_strategy(name)
    if not written:
        return own.own_options()
    options = list(dict.fromkeys(spec.own_options for spec in strategies().values()))
    known = {key for one in options for key in one.model_fields}
    for key in written.keys() - known:
        near = difflib.get_close_matches(str(key), known, n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"known keys: {', '.join(sorted(known))}"
        raise ValueError(f'unknown key "{on_one_line(str(key))}"; {hint}')
    try:
        for one in options:
            one(**{key: value for key, value in written.items() if key in one.model_fields})
    except ValidationError as error:
        raise ValueError("; ".join(findings(error, model=one))) from None
    fields = own.own_options.model_fields
    return own.own_options(**{key: value for key, value in written.items() if key in fields})


def check_requirements(spec: type[StrategySpec], settings: Settings) -> None:
    """Refuse settings of a network that its strategy cannot work with.

    Raises
    ------
    ValueError : with what to write instead.
    """
    for key, (needed, reason) in spec.requires.items():
        if getattr(settings, key) != needed:
            raise ValueError(f'strategy "{spec.name}" needs {key} = {json.dumps(needed)}: {reason}')


def refusal_of_masks(spec: type[StrategySpec]) -> str:
    """Return why a strategy cannot work on masked sums; empty where it can."""
    if not spec.single_updates:
        return ""
    return (
        f'strategy "{spec.name}" compares the changes of single sites, and masks show the'
        ' coordinator their sum alone: choose another strategy, or privacy.masking = "off", with'
        " which it sees what each site has learnt"
    )
