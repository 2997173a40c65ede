"""Payloads of the transport benchmarks, and the note that one has arrived.

Nothing but the standard library is loaded here, as the peers' own environments import it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

# 46.2 million are the weights of a 3D ResNet-50; a network sends them in so many tensors
NUMBERS = {"tiny": 20, "big": 46_200_000}
TENSORS = {"tiny": 1, "big": 160}


def numbers_of(payload: str) -> int:
    """Return the number of float32 in a payload: `tiny`, `big`, or the number itself."""
    return NUMBERS.get(payload) or int(payload)


def note(site: str, number: int, received: float, sent: float) -> None:
    """Say that a site held the model of a round from then till then (seconds since the epoch)."""
    line = json.dumps({"site": site, "round": number, "received": received, "sent": sent})
    with Path(os.environ["BENCH_EVENTS"]).open("a", encoding="utf-8") as file:
        file.write(line + "\n")
