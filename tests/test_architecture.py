"""The import rule of the house: common <- client, server, strategies <- sim."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("common", "client", "server", "strategies", "sim")
ALLOWED = {
    "common": {"common"},
    "client": {"common", "client"},
    "strategies": {"common", "strategies"},
    "server": {"common", "server", "strategies"},
    "sim": set(PACKAGES),
}
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imported_packages(source: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names & set(PACKAGES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_its_package_may(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    forbidden = imported_packages(path.read_text(encoding="utf-8")) - ALLOWED[package]
    assert not forbidden, f"{path.relative_to(ROOT)} imports {sorted(forbidden)}"


def test_the_rule_sees_an_import_hidden_in_a_function() -> None:
    assert imported_packages("def f():\n    from server.app import app\n") == {"server"}


def test_reading_a_study_does_not_import_torch() -> None:
    import subprocess
    import sys

    code = "import sys, common.study, client.cohort; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_every_package_file_fits_into_a_flower_app() -> None:
    """Flower leaves other file types out of an app, so they would be missing at every site."""
    carried = {".py", ".toml", ".md", ".yaml", ".yml", ".json", ".jsonl"}
    files = [
        path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    assert not [str(path) for path in files if path.suffix not in carried]
