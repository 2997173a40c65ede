"""Presets of study files, and the merging of a study's own settings."""

from __future__ import annotations

from importlib import resources
from typing import Any

from common.errors import InputError


def preset_text(name: str) -> str:
    """Return the text of a file in `common/presets`; InputError for an unknown name."""
    file = resources.files("common.presets") / f"{name}.toml"
    if not file.is_file():
        known = sorted(
            p.name.removesuffix(".toml")
            for p in resources.files("common.presets").iterdir()
            if p.name.endswith(".toml")
        )
        raise InputError(
            f'unknown preset "{name}"', where="preset", remedy=f"use one of {', '.join(known)}"
        )
    return file.read_text(encoding="utf-8")


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Merge `changes` into `base`; tables merge key by key, all else is replaced."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        both_tables = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = merge(old, value) if both_tables else value  # type: ignore[arg-type]
    return merged
