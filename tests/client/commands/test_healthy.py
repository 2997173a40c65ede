"""The health check of a container."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from client.commands.healthy import unhealthy
from client.commands.run import only_one
from client.site import SiteSettings, Watch


def settings_in(folder: Path, port: int = 0) -> SiteSettings:
    paths = {"data": folder, "work": folder / "work", "cache": folder / "cache"}
    return SiteSettings(name="a", watch=Watch(port=port), **paths)


def test_a_site_is_well_while_its_program_runs(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    assert unhealthy(settings) == "fedlnm-site run does not run"
    with only_one(settings):
        assert unhealthy(settings) == ""


def test_a_program_that_ended_without_a_word_is_noticed(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with only_one(settings):
        pass
    (settings.work / "run.lock").write_text("4194304999\n", encoding="utf-8")
    assert unhealthy(settings) == "fedlnm-site run does not run"


@contextmanager
def serving(status: int) -> Iterator[int]:
    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Health)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("status", "well"), [(200, True), (503, False)])
def test_its_own_page_of_health_decides_where_it_has_one(
    tmp_path: Path, status: int, well: bool
) -> None:
    with serving(status) as port:
        found = unhealthy(settings_in(tmp_path, port))
    assert (found == "") is well
    assert "does not answer" in unhealthy(settings_in(tmp_path, port))
