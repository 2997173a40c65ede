"""The examples in docstrings run and give what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("common", "client", "server", "strategies", "sim")


def modules_with_examples() -> list[str]:
    files = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    with_examples = (path for path in files if ">>> " in path.read_text(encoding="utf-8"))
    return [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in with_examples]


@pytest.mark.parametrize("name", modules_with_examples())
def test_the_examples_of_a_module_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name.removesuffix(".__init__")))
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("room", ["common/statistics", "common/transforms", "strategies"])
def test_every_public_class_of_a_room_has_an_example(room: str) -> None:
    modules = set(modules_with_examples())
    left = []
    for path in sorted((ROOT / room).glob("*.py")):
        text = path.read_text(encoding="utf-8")
        declares = "def from_rows" in text or ("class " in text and "def apply" in text)
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if declares and path.stem != "base" and name not in modules:
            left.append(name)
    assert left == []
