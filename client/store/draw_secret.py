"""Secret of a site that all its random draws follow from; it never leaves `site.db`."""

from __future__ import annotations

import secrets
from pathlib import Path

from client.store.site_db import site_db

_BYTES = 32


def draw_secret(work: Path) -> bytes:
    """Return the secret, made by the operating system when it is first needed, then kept."""
    db = site_db(work)
    known = db.fact("draw secret", "")
    return bytes.fromhex(known or db.fix("draw secret", "", secrets.token_hex(_BYTES)))


def place_draw_secret(work: Path, secret: bytes) -> None:
    """Set the secret of a simulated site that has none yet, so that its results are repeatable."""
    site_db(work).fix("draw secret", "", secret.hex())
