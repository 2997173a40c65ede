"""All statistics by name: whatever module of this package declares one is known on both sides."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import common.statistics


def statistic_classes() -> dict[str, type[Any]]:
    """Every class with `from_rows`, `finalise`, `shapes`, a rule and steps, by class name.

    A message can name them once they are imported: `common.messages.plain` builds nothing else.
    """
    found: dict[str, type[Any]] = {}
    for module_info in pkgutil.iter_modules(common.statistics.__path__):
        module = importlib.import_module(f"common.statistics.{module_info.name}")
        for name, value in vars(module).items():
            declared = isinstance(value, type) and hasattr(value, "from_rows")
            if declared and hasattr(value, "rule") and value.__module__ == module.__name__:
                found[name] = value
    return dict(sorted(found.items()))
