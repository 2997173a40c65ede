from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.masking.fixed_point import framed, from_text, to_text

PARTS = st.lists(st.binary(max_size=4), max_size=4)


@given(first=PARTS, second=PARTS)
def test_different_parts_never_give_the_same_bytes(first: list[bytes], second: list[bytes]) -> None:
    assert (framed(*first) == framed(*second)) == (first == second)


def test_a_border_between_parts_cannot_be_moved() -> None:
    assert framed("ab", "c") != framed("a", "bc")
    assert framed("ab") != framed("ab", "")


def test_the_bytes_of_a_frame_stay_as_they_are() -> None:
    assert framed("a", b"\x02").hex() == "000000000000000161000000000000000102"


@given(data=st.binary(min_size=1, max_size=70))
def test_text_comes_back_as_bytes(data: bytes) -> None:
    assert from_text(to_text(data), len(data)) == data


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A" * 43,
        "A" * 44,  # 33 bytes
        "A" * 42 + "B=",  # bits that are not used are set
        " " + "A" * 43 + "=",
        "A" * 43 + "=\n",
        "\u0430" * 43 + "=",
        base64.urlsafe_b64encode(b"\xff" * 32).decode(),
    ],
)
def test_what_is_not_the_one_text_of_32_bytes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the base64 text of 32 bytes"):
        from_text(text, 32)
