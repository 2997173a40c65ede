"""Let a coordinator's program lie: Python imports this where its folder is on the path.

The environment variable `LIE` names the lie, of `tests.attacks.lies`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

if any("flwr-serverapp" in part for part in sys.orig_argv):
    sys.path.append(str(Path(__file__).parents[3]))
    from tests.attacks.lies import tell_by_name

    tell_by_name(os.environ["LIE"])
