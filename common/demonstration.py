"""Place of the phantom hospitals of a bare `flwr run .`; both apps must agree on it."""

from __future__ import annotations

import os
from pathlib import Path


def demonstration_folder() -> Path:
    """Folder of the demonstration in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "fedlnm" / "demonstration"


def demonstration_sites() -> Path:
    """The file that lists the demonstration's site.toml paths, one a line."""
    return demonstration_folder() / "site-configs.txt"
