"""Let a hospital's programs be of a newer release, whose memory has one table more."""

from __future__ import annotations

from client.store import migration

migration.VERSION += 1
migration.ADDED = (
    *migration.ADDED[:-1],
    "CREATE TABLE IF NOT EXISTS later (what TEXT PRIMARY KEY) WITHOUT ROWID",
    f"PRAGMA user_version = {migration.VERSION}",
)
