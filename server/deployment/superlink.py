"""Flower's SuperLink as the coordinator runs it.

`python -m server.deployment.superlink` takes the arguments of flower-superlink; people use
`fedlnm-server run`.
"""

from __future__ import annotations

import sys

from common.flower.held_calls import held_calls
from common.flower.layers import passed_by
from common.flower.superlink import flower_superlink, take_turns


def main() -> None:
    """Run it until it is stopped."""
    sys.argv[0] = "flower-superlink"
    take_turns()
    with held_calls(), passed_by():
        flower_superlink()


if __name__ == "__main__":
    main()
