"""How the process of a program of Flower ends."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from client.site import LOG


def end_with_this_thread(program: Callable[[], None]) -> NoReturn:
    """Run a program of Flower, and end the process when it returns or fails.

    Where Flower gives its connection up, its other threads would keep the process alive, and
    nobody would start it again.
    """
    code = 1
    try:
        program()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except KeyboardInterrupt:
        code = 130
    except BaseException as error:
        LOG.error("Flower gave its connection up: %s", type(error).__name__)
        traceback.print_exc()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
