"""What happens in a run, as it happens: appended to events.jsonl, told to whoever listens."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Listener = Callable[[dict[str, Any]], None]


@dataclass
class Events:
    """One line of JSON an event: time, kind, and what the kind says."""

    path: Path | None = None
    listener: Listener | None = None

    def tell(self, kind: str, **details: Any) -> None:
        """Record an event."""
        event = {"time": round(time.time(), 3), "kind": kind, **details}
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")
        if self.listener is not None:
            self.listener(event)
