"""The words of refusals and problems: those that the rules use, and no others."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.gate.vocabulary import CODES, problem_kinds, subject_words
from common.ledger.entry import Record

ROOT = Path(__file__).resolve().parents[3]
MAKERS = {"Refusal", "refusal", "refuse", "FormError"}


def subjects() -> Iterator[str]:
    """Every literal text of a refusal's subject, also where it is given a name first."""
    for package in ("client", "common"):
        for path in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for function in ast.walk(tree):
                if isinstance(function, ast.FunctionDef):
                    yield from subjects_in(function)


def subjects_in(function: ast.FunctionDef) -> Iterator[str]:
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and name_of(node.func) in MAKERS and node.args:
            subject = node.args[-1]
            yield from literals(subject)
            if isinstance(subject, ast.Name):
                for other in ast.walk(function):
                    if isinstance(other, ast.Assign) and name_of(other.targets[0]) == subject.id:
                        yield from literals(other.value)


def name_of(node: ast.AST) -> str:
    return str(getattr(node, "attr", getattr(node, "id", "")))


def literals(node: ast.AST) -> list[str]:
    return [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and type(n.value) is str]


def test_every_word_that_a_refusal_uses_is_known_to_the_gate() -> None:
    found = list(subjects())
    assert "patients changed since an earlier release" in found
    assert len(found) > 10
    words = {word for text in found for word in re.findall(r"[\w.-]+", text)}
    assert words <= subject_words()


def test_a_problem_may_be_named_after_the_gates_codes_and_known_errors_only() -> None:
    kinds = problem_kinds()
    assert set(CODES) <= kinds
    assert {"ValueError", "InputError", "ValidationError"} <= kinds
    assert "Muster" not in kinds


@pytest.mark.parametrize("code", CODES)
def test_the_ledger_takes_every_code(code: str) -> None:
    assert Record(exchange="query.sum", decision="stopped", reason=code).reason == code
