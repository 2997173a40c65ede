"""Keep Flower's log of a SuperNode with the time, and explain the codes in it."""

from __future__ import annotations

import logging
import sys

from client.site import LOG, SiteSettings
from common.utils.console import PlainFormatter
from common.utils.durable import open_folder

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


def log_to_screen_and_file(settings: SiteSettings) -> None:
    """Send what the site says of its connection to standard error and to work/supernode.log."""
    LOG.setLevel(logging.INFO)
    screen = logging.StreamHandler(sys.stderr)
    screen.setFormatter(PlainFormatter())
    LOG.addHandler(screen)
    LOG.addHandler(_file(settings))


def listen_to_flower(settings: SiteSettings) -> None:
    """Keep Flower's log of this process in work/supernode.log, and explain it."""
    from common.flower.internals import FLOWER_LOGGER

    file = _file(settings)
    file.setLevel(logging.INFO)
    FLOWER_LOGGER.addHandler(file)
    FLOWER_LOGGER.addHandler(FlowerWords(settings.name))


def _file(settings: SiteSettings) -> logging.Handler:
    open_folder(settings.work)
    path = settings.work / "supernode.log"
    path.touch(mode=0o600)  # the site's own words on its screen can name a patient
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(PlainFormatter("%(asctime)s %(levelname)s %(message)s"))
    return handler
