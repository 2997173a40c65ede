"""The codes of problems: the gate's own and a few others."""

from __future__ import annotations

import pytest

from client.gate.schema import CODES, is_code
from common.ledger.entry import Record
from common.messages.exchanges import Problem
from common.messages.problems import PROBLEMS


@pytest.mark.parametrize("kind", [*CODES, *PROBLEMS])
def test_a_known_code_with_a_log_id_passes(kind: str) -> None:
    assert is_code(Problem(kind, "0a1b2c3d"))


@pytest.mark.parametrize(
    ("kind", "log_id"),
    [
        ("Muster", "0a1b2c3d"),
        ("ValueError", "0a1b2c3d"),
        ("data", "Muster"),
        ("data", "0a1b2c3d\n"),
    ],
)
def test_anything_else_does_not(kind: str, log_id: str) -> None:
    assert not is_code(Problem(kind, log_id))


@pytest.mark.parametrize("code", CODES)
def test_the_ledger_takes_every_code(code: str) -> None:
    assert Record(exchange="query.sum", decision="stopped", reason=code).reason == code
