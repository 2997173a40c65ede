"""Secret of a site: made once, kept for the owner alone, set by simulations only."""

from __future__ import annotations

import stat
from pathlib import Path

from client.store.draw_secret import draw_secret, place_draw_secret
from client.store.site_db import FILE, site_db


def test_it_is_made_once_and_survives_a_restart(tmp_path: Path) -> None:
    first = draw_secret(tmp_path)
    site_db.cache_clear()
    assert draw_secret(tmp_path) == first
    assert len(first) == 32
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_no_two_sites_have_the_same(tmp_path: Path) -> None:
    assert draw_secret(tmp_path / "a") != draw_secret(tmp_path / "b")


def test_a_simulation_sets_it_once(tmp_path: Path) -> None:
    place_draw_secret(tmp_path, b"known")
    place_draw_secret(tmp_path, b"other")
    assert draw_secret(tmp_path) == b"known"
