"""A site's own run of the study knows every value that an answer may hold."""

from __future__ import annotations

import subprocess
import sys

import pytest

KNOWN = """
import importlib, pkgutil, sys
from common.messages import plain
importlib.import_module(sys.argv[1])
known = set(plain._CLASSES)
for name in ("common.learning", "server.phases"):
    package = importlib.import_module(name)
    for module in pkgutil.iter_modules(package.__path__, f"{name}."):
        importlib.import_module(module.name)
print(*sorted(set(plain._CLASSES) - known))
"""


@pytest.mark.parametrize("program", ["client.gate.supernode", "client.app"])
def test_a_restarted_program_reads_a_value_of_any_phase(program: str) -> None:
    """A class that is imported with its phase is unknown to a program that has just begun."""
    done = subprocess.run(
        [sys.executable, "-c", KNOWN, program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
