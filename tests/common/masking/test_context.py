from __future__ import annotations

import json

import numpy as np
import pytest

from common.errors import RefusedError
from common.masking.context import ContextGuard, mask_context

PARTICIPANTS = ("cuh", "nan", "qfs")
CONTEXT = mask_context("run", "7", "request", "0", PARTICIPANTS)
VECTOR = np.arange(5, dtype=np.uint64)


def test_every_part_of_a_context_changes_it() -> None:
    contexts = [
        CONTEXT,
        mask_context("rum", "7", "request", "0", PARTICIPANTS),
        mask_context("run", "8", "request", "0", PARTICIPANTS),
        mask_context("run", "7", "requesu", "0", PARTICIPANTS),
        mask_context("run", "7", "request", "1", PARTICIPANTS),
        mask_context("run", "7", "request", "0", PARTICIPANTS[:2]),
        mask_context("run", "7", "request", "0", (*PARTICIPANTS, "west")),
        mask_context("run7", "", "request", "0", PARTICIPANTS),
    ]
    assert len(set(contexts)) == len(contexts)
    assert {len(context) for context in contexts} == {32}


def test_the_order_of_the_participants_does_not_matter_and_none_counts_twice() -> None:
    assert mask_context("run", "7", "request", "0", PARTICIPANTS[::-1]) == CONTEXT
    with pytest.raises(ValueError, match="named twice"):
        mask_context("run", "7", "request", "0", ("cuh", "cuh", "nan"))


def test_a_vector_may_be_sent_again_but_no_other_in_its_place() -> None:
    guard = ContextGuard()
    guard.admit("key", CONTEXT, VECTOR)
    guard.admit("key", CONTEXT, VECTOR.copy())
    with pytest.raises(RefusedError, match="another vector was already sent under this mask"):
        guard.admit("key", CONTEXT, VECTOR + np.uint64(1))
    guard.admit("key", CONTEXT, VECTOR)


def test_another_width_or_length_is_another_vector() -> None:
    guard = ContextGuard()
    zeros = np.zeros(4, dtype=np.uint64)
    guard.admit("key", CONTEXT, zeros)
    for other in (np.zeros(8, dtype=np.uint32), zeros[:3], np.zeros(5, dtype=np.uint64)):
        with pytest.raises(RefusedError):
            guard.admit("key", CONTEXT, other)


def test_another_context_or_a_new_key_starts_afresh() -> None:
    guard = ContextGuard()
    other = mask_context("run", "8", "request", "0", PARTICIPANTS)
    for number, (key, context) in enumerate(
        [("key", CONTEXT), ("key", other), ("new key", CONTEXT)]
    ):
        guard.admit(key, context, VECTOR + np.uint64(number))
    assert len(guard.seen) == 3


def test_a_guard_remembers_across_a_restart() -> None:
    first = ContextGuard()
    first.admit("key", CONTEXT, VECTOR)
    again = ContextGuard(json.loads(json.dumps(first.seen)))
    again.admit("key", CONTEXT, VECTOR)
    with pytest.raises(RefusedError):
        again.admit("key", CONTEXT, VECTOR[::-1])
