"""One thread a process, so that patients side by side do not fight over the cores."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """ITK, BLAS and OpenMP with one thread inside; as before outside."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        with _pools(len(sys.modules)).limit(limits=1):
            yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


@lru_cache(maxsize=1)
def _pools(modules: int) -> ThreadpoolController:
    """Look for the libraries that have threads, again whenever more modules are loaded.

    That takes as long as the features of a small ROI.
    """
    return ThreadpoolController()
