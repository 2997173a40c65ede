"""The English of docstrings, messages and pages.

`python tests/test_words.py` lists what is left to rewrite, room by room.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("common", "client", "server", "strategies", "sim")
REWRITTEN: tuple[str, ...] = (
    "bench",
    "conftest.py",
    "client",
    "common",
    "server",
    "sim",
    "strategies",
    "tests/attacks",
    "tests/client",
    "tests/common",
    "tests/deployment",
    "tests/docs",
    "tests/server",
    "tests/sim",
    "tests/strategies",
    "tests/fixtures",
    "tests/conftest.py",
    "tests/test_architecture.py",
    "tests/test_examples.py",
)
"""Rooms and files whose words are checked: paths in the repository, such as "client/gate"."""
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "bench/results.md", "docs", "examples")
GENERATED = {"docs/privacy-dossier.md": "common/dossier"}
"""Pages that a room of code writes: they are checked when the room is rewritten."""
TEXTS = (".md", ".toml", ".yaml", ".json", ".html", ".js")

# A noun clause, in place of a sentence that says what the thing does.
OPENING = re.compile(r"(?:What|Whether|Of|By|How|Where|Who|Whose|Whom|Which|When)\b")
PHRASE = re.compile(r"\b(?:told|the like|put by|a word of)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Complaint:
    path: str
    line: int
    kind: str
    words: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.kind}: {self.words}"


def docstrings(tree: ast.AST) -> Iterator[ast.Constant]:
    """Docstrings of modules, classes and functions, and texts that describe the name above them."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str()) as text):
                yield text


def in_code(source: str, path: str) -> Iterator[Complaint]:
    tree = ast.parse(source)
    described = list(docstrings(tree))
    for text in described:
        first = str(text.value).strip().partition("\n")[0]
        if OPENING.match(first):
            yield Complaint(path, text.lineno, "opening", first)
    inside = set(map(id, described))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            kind = "docstring" if id(node) in inside else "message"
            yield from phrases(node.value, path, node.lineno, kind)


def in_text(source: str, path: str) -> Iterator[Complaint]:
    yield from phrases(source, path, 1, "page")


def phrases(text: str, path: str, line: int, kind: str) -> Iterator[Complaint]:
    """Find phrases also where a line ends in their middle."""
    joined = re.sub(r"\s", " ", text)
    for found in PHRASE.finditer(joined):
        around = joined[max(found.start() - 30, 0) : found.end() + 30]
        yield Complaint(path, line + text.count("\n", 0, found.start()), kind, f"...{around}...")


def complaints(path: Path) -> Iterator[Complaint]:
    name = path.relative_to(ROOT).as_posix()
    check = in_code if path.suffix == ".py" else in_text
    yield from check(path.read_text(encoding="utf-8"), name)


def files(place: str) -> list[Path]:
    path = ROOT / place
    found = [path] if path.is_file() else sorted(path.rglob("*"))
    return [file for file in found if file.suffix in (".py", *TEXTS)]


def pages() -> list[Path]:
    found = [file for place in PAGES for file in files(place)]
    return [file for file in found if file.relative_to(ROOT).as_posix() not in GENERATED]


def written_by(place: str) -> list[Path]:
    """List the pages that a rewritten room writes."""
    return [ROOT / page for page, room in GENERATED.items() if f"{room}/".startswith(f"{place}/")]


@pytest.mark.parametrize("place", REWRITTEN)
def test_a_rewritten_room_says_what_things_do(place: str) -> None:
    found = files(place)
    assert found, f"{place} is gone: mend REWRITTEN"
    left = [str(each) for path in found + written_by(place) for each in complaints(path)]
    assert not left, "\n".join(left)


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_page_has_no_translated_phrase(path: Path) -> None:
    left = [str(each) for each in complaints(path)]
    assert not left, "\n".join(left)


@pytest.mark.parametrize(
    "first",
    ["What leaves the site.", "Whether it holds.", "Of which site.", "By how much.", "How many."],
)
def test_a_noun_clause_is_found_wherever_a_docstring_stands(first: str) -> None:
    module = f'"""{first}"""'
    function = f'def f():\n    """{first}\n\n    More.\n    """'
    attribute = f'class A:\n    """A thing."""\n\n    x: int\n    """{first}"""'
    for source in (module, function, attribute):
        assert [each.words for each in in_code(source, "a.py")] == [first]


def test_sentences_and_longer_words_pass() -> None:
    for first in ("Return what left.", "Offset of a volume.", "Bytes on the line.", "Whole study."):
        assert not list(in_code(f'"""{first}"""', "a.py"))


def test_a_phrase_is_found_in_messages_docstrings_and_over_the_end_of_a_line() -> None:
    code = 'def f(x):\n    """Keep it put by."""\n    raise ValueError(f"{x} was told " "nothing")'
    assert [(each.kind, each.line) for each in in_code(code, "a.py")] == [
        ("docstring", 2),
        ("message", 3),
    ]
    assert [each.line for each in in_text("one\ntwo a word\nof it", "a.md")] == [2]
    assert not list(in_text("foretold, outputs, likely", "a.md"))


def test_a_comment_and_a_name_are_no_message() -> None:
    assert not list(in_code("told = 1  # as it was told", "a.py"))


def room_of(path: str) -> str:
    parts = path.split("/")
    return "/".join(parts[:2]) if len(parts) > 2 else parts[0]


def main() -> None:
    """Print the number of complaints by room and kind, or those of the room that is named."""
    places = (*PACKAGES, "tests", *PAGES)
    found = [each for place in places for path in files(place) for each in complaints(path)]
    for room in sys.argv[1:]:
        print("\n".join(str(each) for each in found if f"{each.path}/".startswith(f"{room}/")))
    if sys.argv[1:]:
        return
    kinds = ("opening", "docstring", "message", "page")
    counts = Counter((room_of(each.path), each.kind) for each in found)
    counts.update(("all", each.kind) for each in found)
    print(f"{'':24}" + "".join(f"{kind:>10}" for kind in kinds))
    for room in [*sorted({room for room, _ in counts} - {"all"}), "all"]:
        print(f"{room:24}" + "".join(f"{counts[room, kind]:>10}" for kind in kinds))


if __name__ == "__main__":
    main()
