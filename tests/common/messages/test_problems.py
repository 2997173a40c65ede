"""Codes of errors: few, and the same whatever value an error came from."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from client.gate.schema import CODES
from client.imaging.errors import PatientError
from client.store.run_keys import RestartedError
from common.errors import InputError, RefusedError, SignatureError
from common.messages.problems import PROBLEMS, problem_code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("x"), "data"),
        (PatientError("x"), "data"),
        (RefusedError("x"), "data"),
        (SignatureError("x"), "keys"),
        (RestartedError(), "restarted"),
        (MemoryError(), "memory"),
        (torch.cuda.OutOfMemoryError("x"), "memory"),
        (PermissionError("x"), "files"),
        (FileNotFoundError("x"), "files"),
        (ValueError("x"), "software"),
        (KeyError("P-01"), "software"),
        (ZeroDivisionError(), "software"),
        (FloatingPointError(), "software"),
    ],
    ids=repr,
)
def test_every_error_has_one_of_a_few_codes(error: Exception, code: str) -> None:
    assert problem_code(error) == code
    assert code in {*PROBLEMS, *CODES}


@given(st.text(min_size=1, max_size=20).filter(str.isidentifier))
def test_a_class_named_after_a_value_says_nothing(name: str) -> None:
    for base in (ValueError, OSError, InputError):
        made = type(name, (base,), {})("x")
        assert problem_code(made) in {*PROBLEMS}
