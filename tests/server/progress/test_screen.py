"""The coordinator's view of a run while it goes on."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from server.progress.events import Events
from server.progress.screen import Follower


def test_words_of_a_site_are_shown_as_they_are(tmp_path: Path) -> None:
    """A site could answer with anything: neither a terminal's commands nor markup take effect."""
    path, shown = tmp_path / "events.jsonl", io.StringIO()
    follower = Follower("study", path, Console(file=shown, width=200, force_terminal=True))
    subset = "rows\x1b[8m[green]fine[/green]\nall sites agree"
    Events(path).emit("refused", site="a", rule="rows", threshold=3, subset=subset)
    follower.poll()
    assert "rows\\x1b[8m[green]fine[/green]\\nall sites agree" in shown.getvalue()
    assert "\x1b[8m" not in shown.getvalue()
