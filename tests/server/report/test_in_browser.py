"""The page in a real browser: it draws, sorts, fits, prints, and asks for nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.html.drawing import Drawing
from server.report.schema import Results
from server.report.study_report import write_report

CHROMIUM = shutil.which("chromium")
try:
    from playwright.sync_api import sync_playwright
except ImportError:
    sync_playwright = None  # type: ignore[assignment]

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (make chromium)"),
    pytest.mark.skipif(sync_playwright is None, reason="playwright is not installed"),
    # one browser for all tests of this file
    pytest.mark.xdist_group("browser"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        options = {"executable_path": CHROMIUM, "args": ["--no-sandbox"]}
        found = playwright.chromium.launch(**options)
        yield found
        found.close()


@pytest.fixture(scope="module")
def address(
    whole: Results, drawings: list[Drawing], tmp_path_factory: pytest.TempPathFactory
) -> str:
    return write_report(whole, tmp_path_factory.mktemp("page"), drawings).as_uri()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page opened; whatever it complains of or asks for is in `page.said`."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.said = []
    opened.on("console", lambda message: opened.said.append(message.text))
    opened.on("pageerror", lambda error: opened.said.append(str(error)))
    opened.on("request", lambda request: opened.said.append(request.url))
    opened.goto(address)
    yield opened
    opened.close()


@pytest.fixture
def opened(page: Any) -> Any:
    """The page with everything unfolded."""
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    return page


def test_nothing_goes_wrong_and_nothing_is_asked_for(page: Any, address: str) -> None:
    page.wait_for_load_state("networkidle")
    assert page.said == [address]


def test_another_script_is_not_run(page: Any) -> None:
    page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'window.evil = 1';"
        " document.body.appendChild(s); }"
    )
    assert page.evaluate("window.evil") is None


def test_every_figure_is_drawn_with_a_size(opened: Any, drawings: list[Drawing]) -> None:
    boxes = opened.eval_on_selector_all(
        "figure svg", "all => all.map(e => [e.clientWidth || e.getBoundingClientRect().width,"
        " e.getBoundingClientRect().height, e.querySelectorAll('path, text').length])"
    )  # fmt: skip
    assert len(boxes) == len(drawings)
    assert all(width > 150 and height > 80 and parts > 5 for width, height, parts in boxes)


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_runs_out_of_the_window(opened: Any, width: int) -> None:
    opened.set_viewport_size({"width": width, "height": 900})
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    # wide tables scroll within their own frame
    outside = opened.eval_on_selector_all(
        "main *:not(.scroll *):not(.gallery.single *):not(svg *)",
        "(all, width) => all.filter(e => e.getBoundingClientRect().right > width + 1)"
        ".map(e => e.outerHTML.slice(0, 80))",
        width,
    )
    assert outside == []


def test_no_table_has_to_be_pushed_on_a_wide_screen(opened: Any) -> None:
    pushed = opened.eval_on_selector_all(
        ".scroll",
        "all => all.filter(e => e.offsetParent && e.scrollWidth > e.clientWidth + 1)"
        ".map(e => e.ariaLabel)",
    )
    assert pushed == []


def test_settings_are_read_on_a_telephone_without_pushing(opened: Any) -> None:
    opened.set_viewport_size({"width": 390, "height": 900})
    wide = opened.eval_on_selector_all(
        "#settings .scroll, #settings pre, #settings td, #settings th",
        "all => all.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent)",
    )
    assert wide == []


def test_no_words_of_a_figure_are_cut_off(opened: Any) -> None:
    cut = opened.eval_on_selector_all(
        "figure svg",
        """all => all.flatMap(svg => {
            const frame = svg.getBoundingClientRect();
            return [...svg.querySelectorAll("text")].filter(text => {
                const own = text.getBoundingClientRect();
                return own.left < frame.left - 1 || own.right > frame.right + 1
                    || own.top < frame.top - 1 || own.bottom > frame.bottom + 1;
            }).map(text => text.textContent);
        })""",
    )
    assert cut == []


def _column(page: Any, table: str, column: int) -> list[str]:
    found: list[str] = page.eval_on_selector_all(
        f"{table} tbody tr",
        "(rows, column) => rows.map(row => row.cells[column].firstChild.textContent.trim())",
        column,
    )
    return found


def test_a_click_on_a_heading_sorts_and_another_turns_it_round(page: Any) -> None:
    table = 'table[data-set="internal"]'
    heading = page.locator(f"{table} thead th").nth(1)
    before = _column(page, table, 1)
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert _column(page, table, 1) == sorted(before, key=float)
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert _column(page, table, 1) == sorted(before, key=float, reverse=True)


def test_tables_sort_from_the_keyboard(page: Any) -> None:
    table = 'table[data-set="internal"]'
    page.locator(f"{table} thead th button").nth(0).focus()
    page.keyboard.press("Enter")
    names = _column(page, table, 0)
    assert names == sorted(names)
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    values = [float(text) for text in _column(page, table, 1)]
    assert values == sorted(values)


def test_totals_stay_last_and_bytes_sort_by_size(opened: Any) -> None:
    table = "#transfers table >> nth=1"
    heading = opened.locator(table).locator("thead th").nth(3)
    heading.locator("button").click()
    rows = opened.locator(table).locator("tbody tr")
    orders = [
        float(rows.nth(i).locator("td").nth(2).get_attribute("data-order") or "nan")
        for i in range(rows.count() - 1)
    ]
    assert orders == sorted(orders)
    assert rows.nth(rows.count() - 1).locator("th").inner_text() == "All"


def test_without_scripts_the_same_is_shown(browser: Any, address: str, page: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(address)
    assert plain.locator("button").count() == 0
    assert plain.locator("main").inner_text() == page.locator("main").inner_text()
    context.close()


PARTS = ("participants", "table1", "selection", "transfers", "refusals", "settings", "facts")
VISIBLE = "id => document.getElementById(id).checkVisibility({contentVisibilityAuto: true})"


def test_results_are_open_and_everything_else_is_folded(page: Any) -> None:
    shown = page.eval_on_selector_all("main > section", "all => all.map(one => one.id)")
    assert shown[:2] == ["summary", "performance"]
    assert {"roc", "calibration", "decision", "per-site", "strata"} <= set(shown)
    folded = page.eval_on_selector_all(
        "main > details.part:not([open]) > section", "all => all.map(one => one.id)"
    )
    assert set(PARTS) <= set(folded) and not set(folded) & set(shown)


def test_a_link_of_the_contents_opens_its_part_with_and_without_scripts(
    browser: Any, address: str
) -> None:
    for scripts in (True, False):
        context = browser.new_context(java_script_enabled=scripts)
        opened = context.new_page()
        opened.goto(address)
        links = opened.locator("nav.contents a")
        targets = [str(links.nth(i).get_attribute("href")) for i in range(links.count())]
        assert {f"#{part}" for part in PARTS} <= set(targets)
        for target in targets:
            opened.locator(f'nav.contents a[href="{target}"]').click()
            opened.locator(target).wait_for(state="visible", timeout=5000)
        context.close()


def test_an_address_with_a_part_opens_it(browser: Any, address: str) -> None:
    opened = browser.new_page()
    opened.goto(f"{address}#table1")
    assert opened.evaluate(VISIBLE, "table1") and not opened.evaluate(VISIBLE, "settings")
    opened.close()


def test_parts_open_from_the_keyboard_and_are_named_for_screen_readers(page: Any) -> None:
    summary = page.locator("details.part > summary", has_text="Which patients took part")
    summary.focus()
    page.keyboard.press("Enter")
    assert page.evaluate(VISIBLE, "participants")
    assert page.get_by_role("region", name="Which patients took part").is_visible()
    page.keyboard.press("Enter")
    assert not page.evaluate(VISIBLE, "participants")


def test_print_shows_what_is_folded_and_the_screen_folds_it_again(page: Any) -> None:
    page.emulate_media(media="print")
    hidden = page.eval_on_selector_all(
        "h3, td, th, p, figure",
        "all => all.filter(one => !one.matches('.contents *') && !one.checkVisibility("
        "{contentVisibilityAuto: true})).map(one => one.textContent)",
    )
    assert hidden == []
    page.emulate_media(media="screen")
    assert not page.evaluate(VISIBLE, "settings")


def test_browsers_that_print_what_they_show_are_given_everything_opened(page: Any) -> None:
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0


def test_it_prints_on_several_pages_with_nothing_cut_off(page: Any) -> None:
    document = page.pdf(format="A4", print_background=True)
    assert document.startswith(b"%PDF")
    assert document.count(b"/Type /Page\n") + document.count(b"/Type /Page ") > 1
    page.emulate_media(media="print")
    assert page.locator(".notice").is_visible()


def test_every_table_says_what_it_is(page: Any) -> None:
    labels = page.eval_on_selector_all(".scroll", "all => all.map(e => e.ariaLabel)")
    assert labels and all(labels)


def test_the_page_is_one_file(address: str) -> None:
    folder = Path(address.removeprefix("file://")).parent
    assert [path.name for path in folder.iterdir()] == ["index.html"]
