"""The page as PDF, printed by a browser without a window where the machine has one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from common.utils.processes import kept

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_SECONDS = 60


def find_browser() -> str | None:
    """Path of a browser that prints, None where there is none."""
    return next((path for name in _BROWSERS if (path := shutil.which(name))), None)


def print_page(browser: str, page: Path) -> Path | None:
    """Write the PDF beside a page; None where the browser did not."""
    made = page.with_suffix(".pdf")
    # the browser's sandbox cannot be set up by root; the page is ours, without script or requests
    alone = ["--no-sandbox"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, "--headless", *alone, "--disable-gpu", "--no-pdf-header-footer"]
        command += [f"--user-data-dir={profile}", f"--print-to-pdf={made}", page.resolve().as_uri()]
        try:
            # no shell; the program was found on the path, and the file is ours
            subprocess.run(kept(command), capture_output=True, timeout=_SECONDS, check=True)  # noqa: S603
        except (OSError, subprocess.SubprocessError):
            return None
    return made if made.is_file() else None
