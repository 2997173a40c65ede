"""Templates: packed, closed, escaped, and refused where a fact is missing."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from setuptools import Distribution

from common.html.drawing import draw
from common.html.pages import Block, Cell, Line, render

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("common", "client", "server", "strategies", "sim")
FILES = [path for package in PACKAGES for path in ROOT.glob(f"{package}/**/templates/*")]
NASTY = "<script>alert('&')</script>"
PAGES = [
    ("server.report", "report.html"),
    ("server.compare", "comparison.html"),
    ("client.report", "site_report.html"),
    ("client.predict", "prediction.html"),
]


def test_a_wheel_carries_every_template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    distribution = Distribution()
    distribution.parse_config_files(["pyproject.toml"])
    # what version control holds shall not stand in for [tool.setuptools.package-data]
    distribution.include_package_data = False
    build = distribution.get_command_obj("build_py")
    build.ensure_finalized()
    packed = {ROOT / source / name for _, source, _, names in build.data_files for name in names}
    assert len(FILES) > len(PAGES)
    assert set(FILES) <= packed


@pytest.mark.parametrize(("room", "name"), [*PAGES, ("server.live", "live.html")])
def test_an_installed_package_finds_its_template(room: str, name: str) -> None:
    text = resources.files(room).joinpath("templates", name).read_text(encoding="utf-8")
    assert text.startswith('{% extends "base.html" %}')


@pytest.mark.parametrize(("room", "name"), PAGES)
def test_a_page_without_its_facts_is_refused(room: str, name: str) -> None:
    with pytest.raises(UndefinedError):
        render(room, name)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_template_calls_anybody_or_leaves_a_value_unescaped(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|@import|url\(|<link (?!rel=\"icon\" href=\"data:,\")", text)
    assert not re.search(r"\|\s*safe\b|autoescape|Markup", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text)


def test_names_in_tables_and_figures_cannot_become_markup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = tmp_path / "nastyroom"
    (room / "templates").mkdir(parents=True)
    (room / "__init__.py").write_text("", encoding="utf-8")
    (room / "templates" / "page.html").write_text(
        '{% extends "base.html" %}{% from "macros.html" import gallery, titled_tables, warnings %}'
        "{% block title %}{{ name }}{% endblock %}{% block main %}{{ warnings([name]) }}"
        "{{ titled_tables([block]) }}{{ gallery([drawing], name) }}{% endblock %}",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    cell = Cell(NASTY, NASTY, f'"{NASTY}', strong=True)
    block = Block(NASTY, NASTY, (NASTY, NASTY), (Line(NASTY, (cell,), f'"{NASTY}'),), f'"{NASTY}')
    drawing = draw("s", NASTY, NASTY, lambda axes: axes.set_xlabel(NASTY))
    page = render("nastyroom", "page.html", name=NASTY, block=block, drawing=drawing)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 15
    assert not re.search(r'="[^"<>]*"<', page)
