"""Presets of study files and radiomics settings that ship with the product, as data files."""

from __future__ import annotations

import re
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from common.errors import InputError


def preset_text(name: str) -> str:
    """Return the text of the preset `name`.toml; InputError when there is none."""
    file = _find(name, ".toml", f'unknown preset "{name}"', "preset")
    return file.read_text(encoding="utf-8")


def settings_file(name: str) -> Traversable:
    """Return the radiomics settings `name`.yaml; InputError when there are none."""
    return _find(name, ".yaml", f'no radiomics settings called "{name}"', "radiomics.settings")


def settings_text(name: str) -> str:
    """Return the text of a radiomics settings file; InputError when there is none."""
    return settings_file(name).read_text(encoding="utf-8")


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Merge `changes` into `base`; tables merge key by key, all else is replaced."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        both_tables = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = merge(old, value) if both_tables else value  # type: ignore[arg-type]
    return merged


def _find(name: str, ending: str, what: str, where: str) -> Traversable:
    folder = resources.files(__name__)
    file = folder / f"{name}{ending}"
    # the name comes with the study: it must not lead out of the folder
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name) or not file.is_file():
        known = sorted(p.name[:-5] for p in folder.iterdir() if p.name.endswith(ending))
        raise InputError(what, where=where, remedy=f"use one of {', '.join(known)}")
    return file
