"""Setting up compiles what a patient needs."""

from __future__ import annotations

import gc

from numba.core.dispatcher import Dispatcher

from client.imaging.radiomics.extraction import extract_roi
from client.imaging.radiomics.warm import ball, compile_loops


def compiled() -> set[tuple[str, str]]:
    """Compiled variants of the loops of this process."""
    loops = [one for one in gc.get_objects() if issubclass(type(one), Dispatcher)]
    return {(one.py_func.__qualname__, str(types)) for one in loops for types in one.signatures}


def test_another_patient_compiles_nothing_more() -> None:
    compile_loops()
    known = compiled()
    assert len(known) > 20
    extract_roi(*ball(12), "radiomics-1834", 1834)
    assert compiled() == known
