"""`fedlnm-server status FOLDER --web`, as it is typed."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from typing import Any

import pytest
from typer.testing import CliRunner

from common.errors import InputError, UsageError
from server.cli import app


def test_the_page_is_served_until_the_command_is_ended(run: Any) -> None:
    command = [sys.executable, "-m", "server", "status", str(run.folder), "--web"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        url = program.stdout.readline().split()[-1]
        with urllib.request.urlopen(f"{url}status.json", timeout=10) as answer:  # noqa: S310
            assert json.load(answer)["state"] == "not started"
        program.terminate()
        assert program.wait(timeout=20) == 0


def test_a_run_on_this_machine_has_a_status_without_a_page_too(run: Any) -> None:
    run.start()
    run.enter("dl2d")
    done = CliRunner().invoke(app, ["status", str(run.folder)])
    assert "run mine: under way" in done.output
    assert "done: 10 %" in done.output


@pytest.mark.parametrize("options", [["--port", "8080"], ["--web", "--json"]])
def test_options_that_do_not_fit_are_refused(run: Any, options: list[str]) -> None:
    done = CliRunner().invoke(app, ["status", str(run.folder), *options])
    assert isinstance(done.exception, UsageError)


def test_a_folder_of_something_else_is_refused(run: Any) -> None:
    (run.folder / "letter.txt").write_text("", encoding="utf-8")
    for options in ([], ["--web"]):
        done = CliRunner().invoke(app, ["status", str(run.folder), *options])
        assert isinstance(done.exception, InputError)
