"""Plain data trees and their way through a Flower message."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
from flwr.app import Array
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from common.messages import codec
from common.messages.codec import buffers_of, decode, decode_once, encode, size_of
from common.messages.exchanges import CATALOGUE, SumItem, SumReply, SumRequest
from common.messages.plain import from_tree, to_tree
from common.statistics.moments import CentredSquares
from common.transforms import Clip, Select
from common.transforms.views import table

scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
scalars |= st.floats(allow_nan=False, allow_infinity=False)
keys = st.text().filter(lambda text: text not in ("__class__", "__array__"))
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=10,
)


@pytest.fixture
def in_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few numbers travel as many do."""
    monkeypatch.setattr(codec, "MOST_INLINE", -1)


@given(values)
@settings(max_examples=100)
def test_plain_data_survives_a_message(value: Any) -> None:
    assert decode(encode(value)) == value


@given(
    st.lists(
        hnp.arrays(
            st.sampled_from([np.float64, np.float32, np.int64, np.uint8]),
            hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4),
        ),
        max_size=5,
    )
)
@settings(max_examples=50)
def test_arrays_survive_a_message_bit_for_bit(arrays: list[Any]) -> None:
    back = decode(encode(tuple(arrays)))
    assert len(back) == len(arrays)
    for sent, got in zip(arrays, back, strict=True):
        assert sent.dtype == got.dtype
        assert sent.shape == got.shape
        assert sent.tobytes() == got.tobytes()


@pytest.mark.usefixtures("in_buffers")
def test_all_arrays_of_a_dtype_travel_in_one_buffer() -> None:
    record = encode(tuple(np.full(3, i, dtype=np.float64) for i in range(50)))
    assert list(record.array_records["arrays"]) == ["float64"]
    assert size_of(record) > 50 * 3 * 8


def test_few_numbers_travel_in_the_header_alone() -> None:
    few, many = encode(np.zeros(8192)), encode(np.zeros(8193))
    assert list(few) == ["header"]
    assert list(many) == ["header", "arrays"]
    assert size_of(few) == len(str(few.config_records["header"]["json"])) + 65536


@pytest.mark.usefixtures("in_buffers")
def test_the_same_numbers_are_read_from_header_and_buffers() -> None:
    value = (np.arange(6.0), np.arange(3, dtype=np.uint8))
    buffered = encode(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "MOST_INLINE", 1024)
        inline = encode(value)
        assert list(inline) == ["header"]
        for one, other in zip(decode(inline), decode(buffered), strict=True):
            assert one.tobytes() == other.tobytes()
            assert not one.flags.writeable


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("float64", b"\0" * 8),  # more than the layout says
        ("float64", b"\0" * 41),  # no whole number of them
        ("float64", "text"),
        ("complex128", b"\0" * 16),
        ("uint8", b"\0" * (codec.MOST_INLINE + 1)),
        ("note", b"a name"),
    ],
)
def test_a_header_with_other_numbers_is_refused(name: str, data: Any) -> None:
    record = encode(np.arange(6.0))
    record.config_records["header"][name] = data
    with pytest.raises(ValueError):
        decode(record)


def test_a_request_with_statistic_and_view_survives() -> None:
    view = table("clinical").then(Select(columns=("x", "y")), Clip(limit=3.0))
    statistic = CentredSquares(mean=np.array([1.0, 2.0]))
    item = SumItem(statistic, view, "train")
    request = SumRequest(run="r", study="s", session="x", number=1, items=(item,), keys=())
    back = decode(encode(request))
    assert isinstance(back, SumRequest)
    assert back.items[0].view.outputs() == ("x", "y")
    assert back.items[0].statistic.mean.tolist() == [1.0, 2.0]


def test_an_unknown_class_is_never_built() -> None:
    with pytest.raises(ValueError, match="unknown class 'Popen'"):
        from_tree({"__class__": "Popen", "args": ["true"]}, [])


def reply_of(size: int) -> SumReply:
    return SumReply("a", "s", 0, "", np.zeros(size, dtype=np.uint64), np.zeros(1, dtype=np.uint32))


def test_fields_must_match_the_class() -> None:
    tree, arrays = to_tree(reply_of(2))
    with pytest.raises(ValueError, match="do not match"):
        from_tree({**tree, "extra": 1}, arrays)


def test_an_array_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="not there"):
        from_tree({"__array__": 3}, [])


def test_what_is_not_plain_data_does_not_travel() -> None:
    with pytest.raises(TypeError, match="set is not plain data"):
        encode({"a": {1, 2}})
    with pytest.raises(TypeError, match="complex128"):
        encode(np.zeros(2, dtype=np.complex128))


@pytest.mark.usefixtures("in_buffers")
def test_a_buffer_longer_than_its_layout_is_refused() -> None:
    record = encode(reply_of(4))
    other = encode(reply_of(5))
    record["arrays"] = other["arrays"]
    with pytest.raises(ValueError, match="longer than its layout"):
        decode(record)


def test_the_catalogue_holds_these_messages() -> None:
    assert set(CATALOGUE) == {
        "query.enrol",
        "query.key",
        "query.agree",
        "query.follow",
        "query.sum",
        "train.network",
        "query.sign",
        "query.open",
        "query.rows",
        "evaluate.handout",
    }


@pytest.mark.usefixtures("in_buffers")
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.uint32, np.uint8])
@pytest.mark.parametrize("size", [0, 1, 20, 5000])
def test_a_buffer_is_what_numpy_writes(dtype: Any, size: int) -> None:
    values = np.arange(size).astype(dtype)
    ours, flowers = buffers_of(encode((values,)))[np.dtype(dtype).name], Array(values)
    assert ours == flowers


@pytest.mark.usefixtures("in_buffers")
def test_the_arrays_of_a_message_are_not_copied_and_cannot_be_written_to() -> None:
    record = encode((np.arange(6.0).reshape(2, 3), np.arange(4.0)))
    buffer = np.frombuffer(buffers_of(record)["float64"].data, dtype=np.uint8)
    for array in decode(record):
        assert np.shares_memory(array, buffer)
        assert not array.flags.writeable


@pytest.mark.usefixtures("in_buffers")
def test_what_was_read_from_one_buffer_is_written_without_a_copy() -> None:
    record = encode((np.arange(6.0), np.arange(3, dtype=np.uint8)))
    again = encode(decode(record))
    for name, array in buffers_of(record).items():
        assert buffers_of(again)[name].data is array.data
    assert again == record


@pytest.mark.parametrize("part", [slice(0, 3), slice(3, 6), slice(None, None, -1)])
def test_a_part_of_a_buffer_is_written_on_its_own(part: slice) -> None:
    whole = decode(encode(np.arange(6.0)))
    assert decode(encode(whole[part])).tolist() == np.arange(6.0)[part].tolist()


@pytest.mark.usefixtures("in_buffers")
def test_a_buffer_with_something_behind_its_numbers_is_not_handed_on() -> None:
    record = encode(np.arange(6.0))
    buffers_of(record)["float64"].data += b"a name"
    again = encode(decode(record))
    assert buffers_of(again)["float64"].data == buffers_of(encode(np.arange(6.0)))["float64"].data


@pytest.mark.usefixtures("in_buffers")
def test_a_buffer_of_another_kind_is_refused() -> None:
    for change in ({"stype": "other"}, {"data": b"nothing"}, {"data": Array(np.eye(3)).data}):
        record = encode(np.arange(9.0))
        for name, value in change.items():
            setattr(buffers_of(record)["float64"], name, value)
        with pytest.raises(ValueError):
            decode(record)


def test_a_record_is_decoded_once_for_all_who_read_it() -> None:
    record = encode(reply_of(4))
    assert decode_once(record) is decode_once(record)
    assert decode_once(record) is not decode_once(encode(reply_of(4)))


def test_no_array_outlives_its_message() -> None:
    gc.collect()
    gc.disable()
    try:
        sent = np.arange(9.0)
        record = encode((sent, {"again": sent}))
        got = decode_once(record)[0]
        size_of(record)
        kept = weakref.ref(sent), weakref.ref(got), weakref.ref(record)
        del sent, got, record
        assert [one() for one in kept] == [None, None, None]
    finally:
        gc.enable()
