"""Batches that a hospital kept: for the models they were made for, whole, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from client.store.batches import FILE, KeptBatches, find_batches, read_batches
from common.errors import InputError
from common.learning.combat import BatchEffects
from common.messages.plain import write_plain


def effects(**changes: Any) -> BatchEffects:
    whole = {"joined": np.array([0, -1, 1]), "shift": np.zeros((2, 3)), "factor": np.ones((2, 3))}
    return BatchEffects(**{**whole, **changes})


def kept(work: Path, run: str, value: object, bundle: str = "digest") -> Path:
    path = work / "runs" / run / FILE
    write_plain(path, value, notes=bundle)
    return path


def test_they_are_found_by_the_bundle_that_they_were_made_for(tmp_path: Path) -> None:
    kept(tmp_path, "a", KeptBatches(("x",), {}), "another")
    path = kept(tmp_path, "b", KeptBatches(("y", "z"), {"radiomics": effects()}))
    found = find_batches(tmp_path, "digest")
    assert found is not None
    assert found.scanners == ("y", "z")
    assert find_batches(tmp_path, "of nobody") is None
    assert read_batches(path, "digest").scanners == ("y", "z")
    with pytest.raises(InputError, match="batches of other models"):
        read_batches(path, "of nobody")


@pytest.mark.parametrize(
    "value",
    [
        5,
        effects(),
        KeptBatches(("x",), {"radiomics": 5}),  # type: ignore[dict-item]
        KeptBatches(7, {}),  # type: ignore[arg-type]
        KeptBatches(("x",), {"radiomics": effects(joined=np.array([0, 2]))}),
        KeptBatches(("x",), {"radiomics": effects(joined=np.array([[0]]))}),
        KeptBatches(("x",), {"radiomics": effects(joined=np.array([0.5]))}),
        KeptBatches(("x",), {"radiomics": effects(shift=np.zeros((2, 2)))}),
        KeptBatches(("x",), {"radiomics": effects(factor=np.full((2, 3), np.nan))}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_no_run_keeps_is_refused_in_words(value: object, tmp_path: Path) -> None:
    path = kept(tmp_path, "a", value)
    with pytest.raises(InputError, match="or damaged"):
        read_batches(path, "digest")


@pytest.mark.parametrize("how", ["cut", "empty", "noise", "without notes", "without tree"])
def test_a_damaged_file_is_named_and_not_passed_over(how: str, tmp_path: Path) -> None:
    path = kept(tmp_path, "a", KeptBatches(("x",), {"radiomics": effects()}))
    content = path.read_bytes()
    ways = {"cut": content[:-9], "empty": b"", "noise": content[::-1]}
    path.write_bytes(ways.get(how, content))
    if how.startswith("without"):
        given = {"tree": "5"} if how == "without notes" else None
        save_file({"0": np.zeros(1)}, path, metadata=given)
    with pytest.raises(InputError, match="or damaged") as error:
        find_batches(tmp_path, "digest")
    assert str(path) in str(error.value)
