"""The programs of a hospital: what they and any library write is for one user alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from client import cli
from client.gate import launcher, supernode
from common.errors import InputError


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def no_more() -> None:
    raise OSError


@pytest.mark.parametrize("main", [cli.main, launcher.main, supernode.main])
def test_a_program_of_a_hospital_writes_for_one_user_alone(
    main: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["program", "--help"])
    monkeypatch.setattr(os, "pipe", no_more)  # the launcher starts nothing
    with suppress(SystemExit, InputError, OSError):
        main()
    assert os.umask(0o022) == 0o077
