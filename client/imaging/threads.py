"""One thread a process, so that patients side by side do not fight over the cores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from threadpoolctl import threadpool_limits


@contextmanager
def one_thread() -> Iterator[None]:
    """ITK, BLAS and OpenMP with one thread inside; as before outside."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
