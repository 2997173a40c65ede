"""A site's own run of the study knows every value that an answer may hold."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

import client.gate.derivation
from client.gate.derivation import Derivation, Question
from client.gate.schema import StoppedError
from client.store.derived_files import DerivedFiles
from tests import builders

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


class Nothing:
    """Files of a run that has only begun."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def entry(self, number: int) -> None:
        return None

    def forget_before(self, number: int) -> None:
        return None


def derivation(folder: Path, remember: Callable[[Question], None]) -> Derivation:
    study = builders.study()
    return Derivation(study, (), "federated", cast(DerivedFiles, Nothing(folder)), remember)


def test_questions_that_no_later_one_depends_on_are_remembered_before_the_study_drops_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step of a study whose only test set lies at one hospital waits for nothing."""

    def program(sites: Any, steps: Any, software: Any) -> None:
        for step in ("rows", "evaluation", "something"):
            steps.step(step, lambda: sites._ask({"a": "digest"}, None, waits=False))

    monkeypatch.setattr(client.gate.derivation, "run_program", program)
    seen: list[int] = []
    own = derivation(tmp_path, lambda question: seen.append(question.number))
    own.start()
    assert own.settled() is None
    assert seen == [0, 1, 2] and 0 not in own.asked


def test_a_question_that_cannot_be_remembered_ends_the_study_at_the_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(question: Question) -> None:
        raise StoppedError("not_derived", "another one stands")

    def program(sites: Any, steps: Any, software: Any) -> None:
        sites._ask({"a": "digest"}, None, waits=True)

    monkeypatch.setattr(client.gate.derivation, "run_program", program)
    own = derivation(tmp_path, refuse)
    own.start()
    with pytest.raises(StoppedError, match="another one stands"):
        own.settled()
