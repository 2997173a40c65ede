"""Setting up compiles what a patient needs."""

from __future__ import annotations

import sys

from numba.core.dispatcher import Dispatcher

from client.imaging.radiomics.extraction import extract_roi
from client.imaging.radiomics.warm import ball, compile_loops


def compiled() -> set[tuple[str, str, str]]:
    """Compiled variants of the package's loops in this process."""
    found = set()
    for name, module in list(sys.modules.items()):
        if name.startswith("client.imaging.radiomics."):
            for loop in vars(module).values():
                if isinstance(loop, Dispatcher):
                    found |= {(name, loop.py_func.__name__, str(t)) for t in loop.signatures}
    return found


def test_another_patient_compiles_nothing_more() -> None:
    compile_loops()
    known = compiled()
    assert len(known) > 20
    extract_roi(*ball(12), "radiomics-1834", 1834)
    assert compiled() == known
