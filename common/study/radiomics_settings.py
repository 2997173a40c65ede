"""Radiomics settings that ship with the product."""

from __future__ import annotations

import re
from importlib import resources
from importlib.resources.abc import Traversable

from common.errors import InputError


def settings_file(name: str) -> Traversable:
    """Return the file `name`.yaml of `common/presets`; InputError when there is none."""
    folder = resources.files("common.presets")
    file = folder / f"{name}.yaml"
    # the name comes with the study: it must not lead out of the folder
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name) or not file.is_file():
        known = sorted(p.name[:-5] for p in folder.iterdir() if p.name.endswith(".yaml"))
        raise InputError(
            f'no radiomics settings called "{name}"',
            where="radiomics.settings",
            remedy=f"use one of {', '.join(known)}",
        )
    return file


def settings_text(name: str) -> str:
    """Return the text of a settings file; InputError when there is none."""
    return settings_file(name).read_text(encoding="utf-8")
