"""Words with which a hospital confirms findings."""

from __future__ import annotations

import pytest

from client.data.cohort_file import confirmed_words
from common.errors import InputError


@pytest.mark.parametrize("cell", ["", " ", ";"])
def test_an_empty_cell_confirms_nothing(cell: str) -> None:
    assert confirmed_words(cell) == frozenset()


@pytest.mark.parametrize("cell", ["frame_of_reference", " frame_of_reference ; frame_of_reference"])
def test_the_word_is_known(cell: str) -> None:
    assert confirmed_words(cell) == {"frame_of_reference"}


@pytest.mark.parametrize("cell", ["yes", "frame", "FRAME_OF_REFERENCE", "frame_of_reference yes"])
def test_an_unknown_word_is_refused(cell: str) -> None:
    with pytest.raises(InputError, match=r'column confirmed: unknown word ".*" -> write frame_of_'):
        confirmed_words(cell)
