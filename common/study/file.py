"""A study written back to a file."""

from __future__ import annotations

from pathlib import Path

import tomli_w

from common.study.model import Study


def write_study(study: Study, path: Path) -> Path:
    """Write a study as TOML, every setting spelled out; its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = tomli_w.dumps(study.model_dump(mode="json", exclude_none=True))
    path.write_text(text, encoding="utf-8")
    return path
