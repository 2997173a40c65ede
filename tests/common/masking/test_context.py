from __future__ import annotations

import numpy as np
import pytest

from common.masking.pairwise import mask_context, mask_use

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


def test_the_same_vector_under_the_same_mask_is_the_same_use() -> None:
    assert mask_use("key", CONTEXT, VECTOR) == mask_use("key", CONTEXT, VECTOR.copy())


def test_another_vector_width_or_length_is_another_content_of_the_same_use() -> None:
    zeros = np.zeros(4, dtype=np.uint64)
    others = (zeros + np.uint64(1), np.zeros(8, dtype=np.uint32), zeros[:3])
    uses = [mask_use("key", CONTEXT, vector) for vector in (zeros, *others)]
    assert len({use for use, _ in uses}) == 1
    assert len({content for _, content in uses}) == 4


def test_another_context_or_a_new_key_is_another_use() -> None:
    other = mask_context("run", "8", "request", "0", PARTICIPANTS)
    uses = {
        mask_use(key, context, VECTOR)[0]
        for key, context in [("key", CONTEXT), ("key", other), ("new key", CONTEXT)]
    }
    assert len(uses) == 3
