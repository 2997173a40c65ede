"""Files of other editors: read as meant, or refused in words."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.site import load_site
from common.errors import InputError
from common.study.model import load_study, parse_study
from common.utils.text_file import as_word
from server.deployment.folder import CoordinatorFolder
from tests import builders

STUDY = builders.study_text(endpoint="Lymphknotenmetastase, verdächtig")


def test_a_byte_order_mark_changes_nothing(tmp_path: Path) -> None:
    study, site = tmp_path / "study.toml", tmp_path / "site.toml"
    study.write_text(STUDY, encoding="utf-8-sig")
    site.write_text('name = "a"\n', encoding="utf-8-sig")
    assert load_study(study) == parse_study(STUDY)
    assert load_site(site).name == "a"


def test_another_encoding_is_named_with_its_line(tmp_path: Path) -> None:
    study, site = tmp_path / "study.toml", tmp_path / "site.toml"
    study.write_text(STUDY, encoding="latin-1")
    site.write_text('name = "a"\n# Köln\n', encoding="latin-1")
    with pytest.raises(InputError, match=r"study\.toml line 2: not UTF-8 text -> save it as UTF-8"):
        load_study(study)
    with pytest.raises(InputError, match=r"site\.toml line 2: not UTF-8 text"):
        load_site(site)
    (tmp_path / "coordinator.toml").write_text("# Köln\n", encoding="latin-1")
    with pytest.raises(InputError, match=r"coordinator\.toml line 1: not UTF-8 text"):
        CoordinatorFolder(tmp_path).settings()


@pytest.mark.parametrize("path", ["hub", "My hospital", "ward#3", "a'b", "$(x)", "100%", "-x"])
def test_a_path_in_a_command_to_copy_is_one_word(path: str) -> None:
    assert shlex.split(f"fedlnm-site doctor {as_word(Path(path))}")[2:] == [path]


ROOT = Path(__file__).resolve().parents[3]
PATHS = {"folder", "site", "run", "study", "folder.root", "mapping.parent"}


def bare_paths(text: ast.JoinedStr) -> Iterator[str]:
    """Yield the paths that stand as they are behind the name of a program of this system."""
    named = False
    for part in text.values:
        if isinstance(part, ast.Constant):
            named = named or bool(re.search(r"fedlnm-(site|server) [a-z]", str(part.value)))
        elif named and isinstance(part, ast.FormattedValue):
            name = ast.unparse(part.value)
            yield from [name] if name in PATHS else []


def test_no_command_that_is_shown_has_a_bare_path() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{text.lineno}: {name}"
        for package in ("client", "server", "common")
        for path in sorted((ROOT / package).rglob("*.py"))
        for text in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(text, ast.JoinedStr)
        for name in bare_paths(text)
    ]
    assert not found
