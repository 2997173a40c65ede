"""Compiled loops: numba without fast mathematics, kept on disk in a folder that only we write."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba
from numba.core import config
from numba.extending import intrinsic

P = ParamSpec("P")
R = TypeVar("R")

_PRIVATE = 0o700


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a loop over arrays at its first call, and keep the machine code on disk.

    Multiplications and additions are neither fused nor reordered, so that results do not depend
    on the processor. Where no private folder can be written, every process compiles anew.
    """
    kept = KEPT is not None
    if kept and KEPT:
        config.CACHE_DIR = KEPT
    decorated = numba.njit(cache=kept, fastmath=False, error_model="numpy", boundscheck=False)
    return cast(Callable[P, R], decorated(function))


@intrinsic  # type: ignore[untyped-decorator]
def fma(_: Any, a: Any, b: Any, c: Any) -> Any:
    """Multiply and add with a single rounding, for compiled loops that have to round as numpy."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return numba.float64(a, b, c), generate


def cache_folder(beside: Path, environment: dict[str, str], user: int) -> str | None:
    """Return the folder for machine code: "" = numba's own choice, None = nowhere.

    Numba loads what it finds there as code, so a folder that others can write is as bad as a
    program that others can write.

    Parameters
    ----------
    beside : folder of the Python files; its `__pycache__` is taken if it can be written, as it
        already holds code.
    user : id of the user that this process runs as.
    """
    if environment.get("NUMBA_CACHE_DIR"):
        return ""
    in_tree = beside / "__pycache__"
    if os.access(in_tree if in_tree.exists() else beside, os.W_OK):
        return ""
    home = environment.get("HOME", "")
    base = environment.get("XDG_CACHE_HOME") or (f"{home}/.cache" if home else "")
    if not Path(base).is_absolute():
        return None
    folder = Path(base) / "fedlnm" / "compiled"
    try:
        folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError:
        return None
    shared = stat.S_IMODE(found.st_mode) & (stat.S_IWGRP | stat.S_IWOTH)
    usable = found.st_uid == user and not shared and os.access(folder, os.W_OK)
    return str(folder) if usable else None


KEPT = cache_folder(Path(__file__).parent, dict(os.environ), os.getuid())
