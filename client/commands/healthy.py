"""Health check of a container: does this site's program run, and does it say that all is well?

python -m client.commands.healthy FOLDER
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from pathlib import Path

from client.commands.run import running
from client.site import SiteSettings, load_site
from common.errors import StudyError

SECONDS = 5.0


def unhealthy(settings: SiteSettings) -> str:
    """Return what is wrong with a site's program; empty where it is well.

    With `[watch] port` its own page of health decides, otherwise whether it runs at all.
    """
    if settings.watch.port:
        try:
            url = f"http://127.0.0.1:{settings.watch.port}/health"
            with urllib.request.urlopen(url, timeout=SECONDS) as answer:
                return "" if answer.status == 200 else f"/health answers {answer.status}"
        except (urllib.error.URLError, OSError) as error:
            return f"/health does not answer: {type(error).__name__}"
    return "" if running(settings) else "fedlnm-site run does not run"


def main() -> int:
    """Print what is wrong; 0 = well, 1 = not."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    try:
        wrong = unhealthy(load_site(folder / "site.toml"))
    except StudyError as error:
        wrong = str(error)
    if wrong:
        print(wrong, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
