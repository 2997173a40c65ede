"""The page in a real browser: it follows a run that is being written, and calls nobody else."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from server.live.serving import LiveServer

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="Debian's chromium is not installed: make chromium"
)
MOST_SECONDS = 20.0


class Visit:
    """An open page, what it said on its console and whom it called."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.said: list[str] = []
        self.called: list[str] = []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.called.append(request.url))

    def text(self, place: str) -> str:
        return str(self.page.locator(place).inner_text())

    def until(self, place: str, wanted: Callable[[str], bool]) -> str:
        """The text of a place once it is as wanted."""
        end = time.monotonic() + MOST_SECONDS
        while not wanted(self.text(place)):
            assert time.monotonic() < end, f"{place} says {self.text(place)!r}"
            self.page.wait_for_timeout(100)
        return self.text(place)


@pytest.fixture
def visit(server: LiveServer) -> Iterator[Visit]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        # as root, as in a container, Chromium's own sandbox cannot be set up
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        made = Visit(browser.new_page(viewport={"width": 1280, "height": 900}))
        made.page.goto(server.url)
        yield made
        browser.close()


def percent(text: str) -> int:
    return int(text.split()[0])


def test_the_page_follows_a_run_to_its_end(run: Any, visit: Visit, server: LiveServer) -> None:
    visit.until("#state", lambda text: text == "Not started")
    run.start()
    for site in ("a", "b"):
        run.joined(site)
    run.enter("enrolment")
    visit.until("#sites", lambda text: "joined" in text)
    shares = []
    run.enter("dl2d")
    for variant in ("fold0", "final"):
        for number in (1, 2, 3, 4):
            run.round(variant, number)
        wanted = "fold 1: round 4 of 4" if variant == "fold0" else "final training: round 4 of 4"
        visit.until("#phase", lambda text, wanted=wanted: wanted in text)  # type: ignore[misc]
        shares.append(percent(visit.text("#percent")))
    assert visit.page.locator("#curves figure").count() == 2
    assert visit.page.locator("#curves polyline.held").count() == 2
    late = {"site": "b", "seconds": 90, "why": "<img src=x onerror=alert(1)>"}
    run.emit("waiting", exchange="query.sum", sites=[late])
    assert "<img src=x" in visit.until("#waiting", lambda text: "b" in text)
    run.enter("evaluation")
    visit.until("#phase", lambda text: "Evaluation" in text)
    shares.append(percent(visit.text("#percent")))
    row = {"run": "federated", "set": "external_1", "n": 40, "model": "dl2d"}
    row |= {"auc": 0.8123, "ci_low": 0.7, "ci_high": 0.9}
    (run.folder / "results.json").write_text(json.dumps({"performance": [row]}), encoding="utf-8")
    run.emit("finished")
    visit.until("#state", lambda text: text == "Finished")
    assert visit.text("#percent") == "100 %"
    assert visit.page.get_attribute("#bar", "aria-valuenow") == "100"
    assert "0.812" in visit.text("#performance")
    assert [0, *shares, 100] == sorted({0, *shares, 100})
    assert visit.said == []
    assert {url.removeprefix(server.url) for url in visit.called if url != "data:,"} == {
        "",
        "status.json",
    }
    if folder := os.environ.get("PAGES"):  # to look at it
        for width in (1280, 390):
            visit.page.set_viewport_size({"width": width, "height": 900})
            visit.page.screenshot(path=f"{folder}/live-{width}.png", full_page=True)


def test_a_run_that_stopped_says_why(run: Any, visit: Visit) -> None:
    run.start()
    run.emit("failed", message="site b: no reply", exit_code=1)
    visit.until("#state", lambda text: text == "Stopped")
    assert "site b: no reply" in visit.text("#stopped")
    assert percent(visit.text("#percent")) < 100
    assert visit.said == []
