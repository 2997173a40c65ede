"""The example in the words of every strategy runs."""

from __future__ import annotations

import doctest
import sys

import pytest

from common.study.strategy import strategies


@pytest.mark.parametrize("name", strategies())
def test_the_example_of_a_strategy_runs(name: str) -> None:
    done = doctest.testmod(sys.modules[f"strategies.{name}"])
    assert done.attempted
    assert not done.failed
