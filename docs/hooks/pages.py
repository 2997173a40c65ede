"""Make the repository's Markdown readable for MkDocs.

Links are written so that they work where the files lie, in a checkout or on a code host. MkDocs
knows only docs/, so the pages beside it are added here, and links to them follow.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
PAGES_BESIDE_DOCS = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "bench/results.md": "measurements.md",
}
LINK = re.compile(r"(?<=\]\()(?P<target>[^)#:\s]+\.md)(?=[)#])")
LABEL_OF_BLOCK = re.compile(r"^```sh [a-z-]+$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie beside docs/."""
    for source, page in PAGES_BESIDE_DOCS.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Point links at the pages of the site, and drop the labels that tests read."""
    written = {name: source for source, name in PAGES_BESIDE_DOCS.items()}
    name = page.file.src_uri
    folder = posixpath.dirname(written.get(name, f"docs/{name}"))
    text = LINK.sub(lambda link: name_on_site(folder, link["target"]), markdown)
    return LABEL_OF_BLOCK.sub("```sh", text)


def name_on_site(folder: str, target: str) -> str:
    """Return the site's name of a page that a page in `folder` of the repository links to."""
    path = posixpath.normpath(posixpath.join(folder, target))
    return PAGES_BESIDE_DOCS.get(path, path.removeprefix("docs/"))
