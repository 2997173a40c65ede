"""Messages that a hostile party made: refused before memory is taken for what they state."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st

from common.messages import codec
from common.messages.codec import decode
from common.messages.plain import from_tree
from common.utils.bounded import DEEPEST
from tests.bombs import MIB, peak_of


def crafted(tree: Any, layout: Any) -> RecordDict:
    """A message with a header of one's own, over ten numbers."""
    text = json.dumps({"tree": tree, "layout": layout})
    return RecordDict({"header": ConfigRecord({"json": text, "float64": bytes(80)})})


WHOLE = [["float64", [10]]]


def test_the_honest_form_is_read() -> None:
    assert decode(crafted([{"__array__": 0}], WHOLE))[0].shape == (10,)


@pytest.mark.parametrize(
    "layout",
    [
        [["float64", [2**32, 2**32]], *WHOLE],  # whose product wraps to 0 in 64 bits
        [["float64", [0, 2**62]], *WHOLE],  # empty, yet a row of it would be beyond memory
        [["float64", [-1, -10]]],
        [["float64", [10.0]]],
        [["float64", ["10"]]],
        [["float64", [True] * 3 + [10]]],
        [["float64", [1] * 40 + [10]]],
        [["float64", 10]],
        [["float64"]],
        [[["float64"], [10]]],
        "float64",
        {"float64": [10]},
        [["float64", [0]]] * 60_000 + WHOLE,
    ],
    ids=lambda layout: repr(layout)[:30],
)
def test_a_layout_of_impossible_shapes_is_refused_in_little_memory(layout: Any) -> None:
    tree = [{"__array__": 0}] * (2 if isinstance(layout, list) and len(layout) == 2 else 1)
    record = crafted(tree, layout)
    with pytest.raises(ValueError, match=r"layout|buffer"):
        decode(record)
    assert peak_of(lambda: decode(record)) < 64 * MIB


@pytest.mark.parametrize("levels", [DEEPEST + 2, 100_000])
def test_a_deep_message_is_refused(levels: int) -> None:
    record = crafted([], WHOLE)
    text = '{"tree": ' + "[" * levels + "]" * levels + ', "layout": []}'
    record.config_records["header"]["json"] = text
    with pytest.raises(ValueError, match="not a message"):
        decode(record)


def test_a_header_that_is_too_long_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    record = crafted([{"__array__": 0}], WHOLE)
    decode(record)
    monkeypatch.setattr(codec, "MOST_HEADER", 20)
    with pytest.raises(ValueError, match="not a message"):
        decode(record)


def test_an_array_named_many_times_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        decode(crafted([{"__array__": 0}] * 1000, WHOLE))
    with pytest.raises(ValueError, match="not there"):
        from_tree({"__array__": True}, [np.zeros(1), np.zeros(1)])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["__class__", "__array__", "a"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(json_values, json_values)
@settings(max_examples=200)
def test_whatever_the_header_holds_it_is_read_or_refused(tree: Any, layout: Any) -> None:
    with contextlib.suppress(ValueError):
        decode(crafted(tree, layout))
