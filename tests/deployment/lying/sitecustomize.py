"""Let a coordinator's programs lie: Python imports this where its folder is on the path.

The environment variable `LIES` holds the lie of each study, of `tests.attacks.lies`, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

if any("flwr-serverapp" in part for part in sys.orig_argv):
    sys.path.append(str(Path(__file__).parents[3]))
    from server.federation.federation import Federation
    from tests.attacks.lies import tell_by_name

    honest = Federation.__init__

    def begin(federation: Federation, **settings: Any) -> None:
        """Begin as an honest federation does, and lie in its study from then on."""
        honest(federation, **settings)
        tell_by_name(json.loads(os.environ["LIES"])[federation.study.name])

    Federation.__init__ = begin  # type: ignore[method-assign]
