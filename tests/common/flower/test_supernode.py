"""The gate's seam in Flower's SuperNode: tests that fail when the seam moves."""

from __future__ import annotations

import pytest
from flwr.supernode import start_client_internal as flower

from common.errors import StudyError
from common.flower import seam, supernode


def test_flower_is_as_the_gate_was_made_for() -> None:
    supernode.check_seam()


@pytest.mark.parametrize("name", [name for _, name, _ in supernode.SEAM])
def test_a_function_that_is_gone_or_has_other_parameters_is_noticed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in (None, lambda state: None):
        monkeypatch.setattr(flower, name, other)
        with pytest.raises(StudyError, match="not the one that the gate was made for"):
            supernode.check_seam()


def test_a_loop_that_no_longer_calls_the_seam_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def other_loop() -> None:
        """Pulls and pushes in another way."""

    monkeypatch.setattr(flower, "start_client_internal", other_loop)
    with pytest.raises(StudyError, match="_push_messages"):
        supernode.check_seam()


def test_another_release_of_flower_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seam, "package_version", "1.42.0")
    with pytest.raises(StudyError, match=r"1\.42\.0"):
        supernode.check_seam()
    with pytest.raises(StudyError, match=r"1\.42\.0"), supernode.replaced({}):
        raise AssertionError("it started")


def test_functions_are_replaced_inside_and_back_again_after() -> None:
    names = ("_pull_and_store_message", "_verify_fab", "_push_messages")
    before = [getattr(flower, name) for name in names]
    with supernode.replaced(dict.fromkeys(names, print)):
        assert [getattr(flower, name) for name in names] == [print] * 3
    assert [getattr(flower, name) for name in names] == before
    assert supernode.loop_functions() == (before[0], before[2])
