"""Other processors, stood in for by other kernels of OpenBLAS, numpy, torch and the C library.

A library chooses its kernels once, when it is loaded: every processor takes a process of its own.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Message
from flwr.clientapp import ClientApp

from client.store.run_keys import new_start
from common.flower.programs import QUIET
from sim.engines.inprocess import InProcessGrid

# found by numpy here; a process may be kept from using them
SIMD: list[str] = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
OLD = {
    "OPENBLAS_CORETYPE": "Prescott",
    "NPY_DISABLE_CPU_FEATURES": " ".join(SIMD),
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F",
    "ATEN_CPU_CAPABILITY": "default",
}
PROCESSORS: dict[str, dict[str, str]] = {
    "haswell": {"OPENBLAS_CORETYPE": "Haswell", "ATEN_CPU_CAPABILITY": "avx2"},
    "skylakex": {"OPENBLAS_CORETYPE": "SkylakeX"},
    "zen": {"OPENBLAS_CORETYPE": "Zen", "NPY_DISABLE_CPU_FEATURES": " ".join(SIMD[1:])},
    "sandybridge": {
        "OPENBLAS_CORETYPE": "Sandybridge",
        "NPY_DISABLE_CPU_FEATURES": " ".join(SIMD),
    },
    "nehalem": {"OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": " ".join(SIMD)},
    "prescott": OLD,
}
"""Environment by name. On one of the first three the kernels may be those of this machine."""


@contextmanager
def sites_elsewhere(
    processor: Mapping[str, str], sites: Mapping[str, Path]
) -> Iterator[InProcessGrid]:
    """Yield a grid whose sites answer in another process, on another processor than this one's.

    Parameters
    ----------
    processor : environment of their process.
    sites : path of site.toml by site.
    """
    here, there = multiprocessing.get_context("spawn").Pipe()
    settings = {**QUIET, **new_start(), **processor}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    process = multiprocessing.get_context("spawn").Process(
        target=_answer, args=(there, dict(sites))
    )
    try:
        process.start()
    finally:
        _restore(before)
    there.close()
    try:
        yield _Elsewhere(here, sites)
    finally:
        here.close()
        process.join(60)
        process.terminate()


def _restore(before: Mapping[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


class _Elsewhere(InProcessGrid):
    """Grid that hands messages to another process, and waits for its replies."""

    def __init__(self, connection: Connection, sites: Mapping[str, Path]) -> None:
        super().__init__(ClientApp(), sites)
        self._connection = connection

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Have these messages answered now."""
        replies: list[Message] = []
        for message_id in message_ids:
            self._connection.send(self._waiting.pop(message_id))
            replies.append(self._connection.recv())
        return replies


def _answer(connection: Connection, sites: dict[str, Path]) -> None:
    """Answer one message after the other until the other end is closed."""
    from client.app import app
    from sim.jobs import configure_screen

    configure_screen("elsewhere")
    grid: Any = InProcessGrid(app, sites)
    while True:
        try:
            message = connection.recv()
        except EOFError:
            return
        (number,) = grid.push_messages([message])
        (reply,) = grid.pull_messages([number])
        connection.send(reply)
