"""The pages as a site, and what they name in the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BESIDE_DOCS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "bench/results.md")
PAGES = [*(ROOT / name for name in BESIDE_DOCS), *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ (?P<text>.+)$", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
SHOWN = re.MULTILINE | re.DOTALL
FILE_OF_THE_REPOSITORY = re.compile(
    r"`(?P<path>(?:common|client|server|strategies|sim|tests|docs|bench|examples)/[\w./*-]+)`"
)
FROM_ELSEWHERE = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(?:https?:)?//|"""
    r"""<link\b(?=[^>]*\brel=["']?(?:stylesheet|preload|icon|preconnect))"""
    r"""[^>]*\bhref=["']?(?:https?:)?//|@import|url\(["']?(?:https?:)?//"""
)


def build(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=root,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "site"
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in ("mkdocs.yml", "docs", *BESIDE_DOCS):
        target = tmp_path / "copy" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, target)
    return tmp_path / "copy"


def test_the_site_has_a_page_of_every_page(site: Path) -> None:
    names = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert names | {"contributing", "changelog", "measurements"} <= {
        path.stem for path in site.glob("*.html")
    }


@pytest.mark.parametrize("package", ["common", "client", "server"])
def test_the_picture_of_the_house_has_every_room(package: str) -> None:
    picture = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("```")[5]
    rooms = {path.parent.name for path in (ROOT / package).glob("*/*.py")}
    assert rooms <= set(re.findall(r"(\w+)/", picture))


@pytest.mark.parametrize(
    ("page", "link"),
    [
        ("docs/site.md", "[gone](nowhere.md)"),
        ("docs/site.md", "[gone](formats.md#no-such-heading)"),
        ("CONTRIBUTING.md", "[gone](docs/check.md#no-such-heading)"),
    ],
)
def test_a_broken_link_or_anchor_fails_the_build(copy: Path, page: str, link: str) -> None:
    with (copy / page).open("a", encoding="utf-8") as file:
        file.write(f"\n{link}\n")
    done = build(copy, copy / "build")
    assert done.returncode != 0
    assert link.partition("(")[2].rpartition("/")[2].rstrip(")") in done.stderr


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    for path in (*site.rglob("*.html"), *site.rglob("*.css")):
        found = FROM_ELSEWHERE.search(path.read_text(encoding="utf-8"))
        assert not found, f"{path.name}: {found and found[0]}"


def test_labels_of_command_blocks_are_no_words_of_the_site(site: Path) -> None:
    text = (site / "site.html").read_text(encoding="utf-8")
    assert "fedlnm-site" in text
    assert "no-test" not in text
    assert "after-run" not in text


def anchors(text: str) -> set[str]:
    """Anchors of a page's headings, as code hosts make them."""
    headings = (found["text"] for found in HEADING.finditer(FENCED.sub("", text)))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> Iterator[tuple[str, str]]:
    for found in LINK.finditer(FENCED.sub("", page.read_text(encoding="utf-8"))):
        if "://" not in found["target"]:
            path, _, anchor = found["target"].partition("#")
            yield path, anchor


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_in_the_repository_leads_somewhere(page: Path) -> None:
    for path, anchor in links(page):
        target = page.parent / path if path else page
        assert target.is_file(), f"{page.name}: {path}"
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), f"{path}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    for found in FILE_OF_THE_REPOSITORY.finditer(page.read_text(encoding="utf-8")):
        assert list(ROOT.glob(found["path"].rstrip("/"))), f"{page.name}: {found['path']}"


def test_a_hospital_is_ready_after_eight_commands_and_takes_part_after_ten() -> None:
    """Counted from the kit on; commands of other ways than the plain one are left out."""
    text = (ROOT / "docs" / "site.md").read_text(encoding="utf-8")
    sections = re.split(r"^## (?=\d)", text, flags=re.MULTILINE)[1:7]
    typed = [
        line
        for section in sections
        for block in re.findall(r"^```sh ?(?:no-test|background)?\n(.*?)^```$", section, SHOWN)
        for line in block.splitlines()
    ]
    until_ready = next(n for n, line in enumerate(typed, 1) if " check " in line)
    taking_part = next(n for n, line in enumerate(typed, 1) if line.startswith("fedlnm-site run"))
    assert until_ready <= 8
    assert taking_part <= 10
    assert all(
        line.split()[0] in ("sha256sum", "tar", "sh", "export", "fedlnm-site")
        for line in typed[:taking_part]
    )


def test_the_front_page_leads_every_reader_to_one_page() -> None:
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    readers = [row.split("|")[1].strip() for row in rows]
    assert [reader.split()[-1] for reader in readers] == [
        *("project", "hospital", "study", "coordinator", "officer", "statistician", "developer"),
    ]
    assert [len(LINK.findall(row)) for row in rows] == [1] * len(rows)
