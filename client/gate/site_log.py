"""Keep a site's screen and log in its own words, and all that Flower says in a file beside."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from client.site import LOG, SiteSettings
from common.utils.console import PlainFormatter
from common.utils.durable import open_folder

SITE_LOG, FLOWER_LOG, GATE_LOG, ERRORS_LOG = "site.log", "flower.log", "gate.log", "errors.log"
LOGS = (SITE_LOG, FLOWER_LOG)
"""Logs that are open as long as the site takes part."""
ROTATED = (*LOGS, GATE_LOG, ERRORS_LOG)
_LINE = "%(asctime)s %(levelname)s %(message)s"
_ALONE = "in_file_alone"
IN_FILE_ALONE = {_ALONE: True}
"""`extra` of a line that the screen gets in another way."""
NOT_LET_IN = "[code: 2004]"
"""FLEET_NODE_ACTIVATION_FAILED of Flower 1.41."""


class FlowerWords(logging.Handler):
    """Handler that explains Flower's `NOT_LET_IN` on the site's screen."""

    def __init__(self, site: str) -> None:
        super().__init__(logging.ERROR)
        self._site = site

    def emit(self, record: logging.LogRecord) -> None:
        """Look at one line of Flower's log."""
        if NOT_LET_IN in record.getMessage():
            LOG.error(
                "site %s: the coordinator does not let this node in -> if it was running here a"
                " minute ago, this passes; else the coordinator has not enrolled this site, or has"
                " taken it off: send it the request file, and compare fingerprints by phone",
                self._site,
            )


def log_to_screen_and_file(settings: SiteSettings, screen: int = 2) -> None:
    """Send the site's own words to its screen and to work/site.log.

    Parameters
    ----------
    screen : file descriptor of the screen.
    """
    LOG.setLevel(logging.INFO)
    shown = logging.StreamHandler(sys.stderr if screen == 2 else os.fdopen(screen, "w"))
    shown.setFormatter(PlainFormatter("%(asctime)s %(message)s", "%H:%M:%S"))
    shown.addFilter(lambda record: not hasattr(record, _ALONE))
    LOG.addHandler(shown)
    kept = logging.FileHandler(private_log(settings, SITE_LOG), encoding="utf-8")
    kept.setFormatter(PlainFormatter(_LINE))
    LOG.addHandler(kept)


def leave_the_screen_to_the_site(settings: SiteSettings) -> None:
    """Keep all output of this process and of its children in work/flower.log, but the site's words.

    What libraries print, in colours or not, is for nobody at a hospital to understand.
    """
    from common.flower.internals import FLOWER_LOGGER

    screen = os.dup(2)
    log = os.open(private_log(settings, FLOWER_LOG), os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
    log_to_screen_and_file(settings, screen)
    FLOWER_LOGGER.handlers.clear()
    plain = logging.StreamHandler(sys.stderr)
    plain.setLevel(logging.INFO)
    plain.setFormatter(PlainFormatter(_LINE))
    FLOWER_LOGGER.addHandler(plain)
    FLOWER_LOGGER.addHandler(FlowerWords(settings.name))


def private_log(settings: SiteSettings, name: str) -> Path:
    """Return the path of a log, made for this user alone: words on a screen can name a patient."""
    open_folder(settings.work)
    path = settings.work / name
    path.touch(mode=0o600)
    return path
