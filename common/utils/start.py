"""Start one of our programs without looks for garbage while it is loaded, where there is none.

`python -m common.utils.start MODULE ARGUMENTS` runs `main()` of a module. Flower's programs load
some 1800 modules: Python would spend a fifth of that time, a third of a second, on such looks.
"""

from __future__ import annotations

import gc
import importlib
import sys
from types import ModuleType


def load(name: str) -> ModuleType:
    """Return a module, once it and all that it needs are loaded; later looks pass these over."""
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        gc.enable()


def main() -> None:
    """Run the module that the first argument names; the others are its own."""
    load(sys.argv.pop(1)).main()


if __name__ == "__main__":
    main()
