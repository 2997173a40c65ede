"""Flower's arrays, taken in without its copies."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, RecordDict
from flwr.app.message import Array
from flwr.app.message.arraychunk import ArrayChunk
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

from common.flower.arrays import join_arrays_once
from common.messages.codec import buffers_of, decode, encode

MIB = 2**20


@pytest.fixture(autouse=True)
def joined_once() -> Iterator[None]:
    """Flower's own functions again afterwards."""
    before: dict[Any, Any] = {kind: kind.__dict__["inflate"] for kind in (Array, ArrayChunk)}
    join_arrays_once()
    yield
    for kind, function in before.items():
        type.__setattr__(kind, "inflate", function)


def contents_of(array: Array) -> dict[str, bytes]:
    return {name: part.deflate() for name, part in get_all_nested_objects(array).items()}


@pytest.mark.parametrize("size", [0, 1, 3 * MIB, 4 * MIB])
def test_an_array_arrives_as_it_was_sent(size: int) -> None:
    sent = Array(np.random.default_rng(0).random(size, dtype=np.float32))
    got = inflate_object_from_contents(sent.object_id, contents_of(sent))
    assert got == sent
    assert type(got.data) is bytes
    assert got.object_id == sent.object_id


def test_parts_that_are_alike_travel_once_and_arrive_in_their_places() -> None:
    sent = Array(np.concatenate([np.zeros(6 * MIB), np.ones(3 * MIB), np.zeros(6 * MIB)]))
    contents = contents_of(sent)
    assert sum(map(len, contents.values())) < len(sent.data) / 2
    got = inflate_object_from_contents(sent.object_id, contents)
    assert np.array_equal(got.numpy(), sent.numpy())


def test_another_part_than_announced_is_refused() -> None:
    sent, other = Array(np.zeros(4)), Array(np.ones(4))
    part = dict(other.slice_array())
    with pytest.raises(ValueError, match="children"):
        Array.inflate(sent.deflate(), part)
    with pytest.raises(ValueError, match="not a part"):
        ArrayChunk.inflate(sent.deflate())


def test_two_arrays_may_share_a_part() -> None:
    record = ArrayRecord({"a": Array(np.zeros(6 * MIB)), "b": Array(np.zeros(8 * MIB))})
    contents = {name: part.deflate() for name, part in get_all_nested_objects(record).items()}
    got = inflate_object_from_contents(record.object_id, contents)
    assert isinstance(got, ArrayRecord)
    assert [array.numpy().size for array in got.values()] == [6 * MIB, 8 * MIB]
    assert not any(array.numpy().any() for array in got.values())


def test_what_arrived_is_given_back_as_it_is_copied() -> None:
    tracemalloc.start()
    try:
        sent = Array(np.random.default_rng(0).random(8 * MIB, dtype=np.float32))
        name, size, contents = sent.object_id, len(sent.data), contents_of(sent)
        del sent
        gc.collect()
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        got = inflate_object_from_contents(name, contents)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(got, Array)
    assert before >= size
    assert after < 1.1 * size
    # the whole is there from the start; the system gives its pages when they are written to
    assert peak < before + 1.2 * size


def test_an_array_that_arrived_is_decoded_and_sent_on_without_a_copy() -> None:
    record = encode((np.arange(1 << 20, dtype=np.uint32),))
    contents = {name: part.deflate() for name, part in get_all_nested_objects(record).items()}
    arrived = inflate_object_from_contents(record.object_id, contents)
    assert isinstance(arrived, RecordDict)
    (numbers,) = decode(arrived)
    assert np.array_equal(numbers, np.arange(1 << 20))
    assert not numbers.flags.writeable
    again = encode((numbers,))
    assert buffers_of(again)["uint32"].data is buffers_of(arrived)["uint32"].data
    assert again.object_id == record.object_id
