"""All statistics by name: a class that any module here declares is known on both sides."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import common.statistics


def statistic_classes() -> dict[str, type[Any]]:
    """Return every class with `from_rows`, `finalise`, `shapes`, a rule and steps, by class name.

    Once imported, messages can name them: `common.messages.plain` builds nothing else.
    """
    found: dict[str, type[Any]] = {}
    for module_info in pkgutil.iter_modules(common.statistics.__path__):
        module = importlib.import_module(f"common.statistics.{module_info.name}")
        for name, value in vars(module).items():
            declared = isinstance(value, type) and hasattr(value, "from_rows")
            if declared and hasattr(value, "rule") and value.__module__ == module.__name__:
                found[name] = value
    return dict(sorted(found.items()))
