"""Registry of checks: a module of this folder that declares one is found and run by itself."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TypeVar

import client.check
from client.check.finding import KINDS, Finding

Stage = Literal["site", "patients"]
Check = Callable[..., Iterator[Finding]]
C = TypeVar("C", bound=Check)
_CHECKS: dict[Stage, dict[str, Check]] = {"site": {}, "patients": {}}
_KINDS: dict[str, dict[str, str]] = {}


def check(stage: Stage, **kinds: str) -> Callable[[C], C]:
    """Register a check, which asks for what it needs by the names of its parameters.

    A check of the stage "site" may take `study`, `study_file`, `settings`, `site` (its name),
    `deployment` and `contact` (what the coordinator answered, None without one). A check of the
    stage "patients" runs once it is known who can be used, and may take `cohort` as well.

    Parameters
    ----------
    kinds : new kinds of finding and what they say where all is well, "_" for "." in the name.

    Examples
    --------
    >>> @check("site", machine_example="the site is not called example")
    ... def check_example(site):
    ...     if site == "example":
    ...         yield Finding("machine.example", "warning", "", "the site is called example")
    >>> [one.what for one in run_checks("site", {"site": "example"}, only=("check_example",))]
    ['the site is called example']
    >>> forget("site", "check_example")
    """

    def register(function: C) -> C:
        own = {name.replace("_", ".", 1): what for name, what in kinds.items()}
        KINDS.update(own)
        _CHECKS[stage][function.__name__], _KINDS[function.__name__] = function, own
        return function

    return register


def forget(stage: Stage, name: str) -> None:
    """Take a check out again, with the kinds of finding that it declared."""
    del _CHECKS[stage][name]
    for kind in _KINDS.pop(name):
        del KINDS[kind]


def declared(stage: Stage) -> tuple[str, ...]:
    """Return the kinds of finding that the checks of a stage declared themselves."""
    return tuple(kind for name in _CHECKS[stage] for kind in _KINDS[name])


def run_checks(
    stage: Stage, given: Mapping[str, Any], only: tuple[str, ...] = ()
) -> Iterator[Finding]:
    """Run the checks of one stage, in the order of their modules and of their declaration.

    Raises
    ------
    TypeError : a check asks for what its stage does not have.
    """
    if not only:
        for module in pkgutil.iter_modules(client.check.__path__):
            importlib.import_module(f"client.check.{module.name}")
    for name, function in sorted(_CHECKS[stage].items(), key=lambda one: one[1].__module__):
        if not only or name in only:
            wanted = inspect.signature(function).parameters
            yield from function(**{key: given[key] for key in wanted if key in given})
