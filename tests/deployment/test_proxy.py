"""A hospital that reaches the coordinator only through its proxy, which wants a password."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest

from client.site import load_site
from common.utils.processes import free_port, port_is_taken
from sim.rehearsal import program
from sim.sites import write_site
from tests import builders

SITE, USER = "b", "qilu"
RIGHT = "s3cr.t-41_Word"
"""Password of the only signs that tinyproxy reads in its own file."""
SENDER = "127.0.0.9"
"""Address that the firewall lets out: the proxy's."""
CONFIGURATION = """
Port {port}
Listen 127.0.0.1
Bind {sender}
Allow 127.0.0.1
BasicAuth {user} {password}
ConnectPort {target}
LogFile "{log}"
LogLevel Connect
PidFile "{pid}"
"""
REFUSED = "the proxy refuses the user and password that it was given"
REMEDY = "write https_proxy=http://USER:PASSWORD@HOST:PORT into proxy.env beside site.toml"


@dataclass
class Tinyproxy:
    """The hospital's proxy."""

    port: int
    log: Path

    def connections(self) -> int:
        """Count the requests to connect somewhere."""
        return self.log.read_text(encoding="utf-8").count("CONNECT 127.0.0.1:")


@pytest.fixture
def tinyproxy(stage: Any, staging: Any, tmp_path: Path) -> Iterator[Tinyproxy]:
    """The real tinyproxy, which connects to the coordinator's port alone, given the password."""
    found = shutil.which("tinyproxy", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    if found is None:
        pytest.skip("tinyproxy is not installed: make tinyproxy")
    made = Tinyproxy(free_port(), tmp_path / "tinyproxy.log")
    text = CONFIGURATION.format(
        port=made.port,
        sender=SENDER,
        user=USER,
        password=RIGHT,
        target=stage.lines[SITE].port,
        log=made.log,
        pid=tmp_path / "tinyproxy.pid",
    )
    (tmp_path / "tinyproxy.conf").write_text(text, encoding="utf-8")
    command = [found, "-d", "-c", str(tmp_path / "tinyproxy.conf")]
    with staging.started(command, tmp_path / "screen.log") as screen:
        staging.until(lambda: port_is_taken(made.port), "tinyproxy listens", screen.log, seconds=30)
        yield made


@pytest.fixture
def firewall(stage: Any) -> Iterator[None]:
    """Nobody of the hospital but the proxy reaches the coordinator."""
    line, folder = stage.lines[SITE], stage.rehearsal.site(SITE)
    before = (folder / "site.toml").read_bytes()
    line.only_from = SENDER
    yield
    line.only_from = ""
    (folder / "site.toml").write_bytes(before)
    (folder / "proxy.env").unlink(missing_ok=True)


def behind(stage: Any, tinyproxy: Tinyproxy, password: str, *lines: str) -> Path:
    """Write the file of the proxy, and return it."""
    words = f"{USER}:{quote(password, safe='')}"
    file: Path = stage.rehearsal.site(SITE) / "proxy.env"
    first = f"https_proxy=http://{words}@127.0.0.1:{tinyproxy.port}"
    file.write_text("\n".join([first, *lines, ""]), encoding="utf-8")
    file.chmod(0o600)
    return file


def checked(stage: Any) -> tuple[int, dict[str, Any]]:
    """Exit code of `fedlnm-site check`, and what it says of the coordinator by kind."""
    folder = stage.rehearsal.site(SITE)
    command = [*program("site"), "check", str(folder), "--study", str(stage.study_file), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    rows = json.loads(done.stdout)["findings"]
    found = {row["kind"]: row for row in rows if row["kind"].startswith("coordinator.")}
    found["words"] = done.stdout + done.stderr
    return done.returncode, found


def doctored(stage: Any) -> str:
    """Words of `fedlnm-site doctor` and `status`."""
    folder = stage.rehearsal.site(SITE)
    return "".join(
        subprocess.run(
            [*program("site"), verb, str(folder)], capture_output=True, text=True, check=False
        ).stdout
        for verb in ("doctor", "status")
    )


def forms(password: str) -> list[bytes]:
    """Forms in which a password could be kept."""
    pair = b64encode(f"{USER}:{password}".encode())
    return [password.encode(), quote(password, safe="").encode(), pair]


def kept_in(folder: Path, password: str, *but: Path) -> list[Path]:
    """Files of a folder that hold a password."""
    files = [path for path in folder.rglob("*") if path.is_file() and path not in but]
    return [path for path in files if any(form in path.read_bytes() for form in forms(password))]


@pytest.mark.usefixtures("firewall")
def test_a_wrong_password_is_said_in_one_sentence_by_check_and_by_run(
    stage: Any, tinyproxy: Tinyproxy
) -> None:
    wrong = "wr0ng-password"
    file = behind(stage, tinyproxy, wrong)
    with stage.proxy():
        code, found = checked(stage)
        assert code == 1
        assert found["coordinator.proxy"]["what"] == REFUSED
        assert found["coordinator.proxy"]["remedy"].startswith(REMEDY)
        assert found["coordinator.reach"]["severity"] == "not checked"
        words = found["words"]
        before = tinyproxy.connections()
        said = doctored(stage)
        assert REFUSED in said
        assert tinyproxy.connections() == before + 2, "one of each command"
        before = tinyproxy.connections()
        with stage.site(file.parent) as screen:
            assert screen.ends() == 78
        assert tinyproxy.connections() == before + 1, "every further try could lock the user out"
        assert screen.text.count(f"127.0.0.1:{tinyproxy.port}: {REFUSED} -> {REMEDY}") == 1
    assert not any(form.decode() in f"{words}{said}{screen.text}" for form in forms(wrong))
    assert kept_in(stage.rehearsal.root, wrong, file) == []


@pytest.mark.usefixtures("firewall")
def test_a_coordinator_that_is_exempt_is_not_looked_for_behind_the_proxy(
    stage: Any, tinyproxy: Tinyproxy
) -> None:
    behind(stage, tinyproxy, RIGHT, "NO_PROXY=localhost,127.0.0.0/8")
    with stage.proxy():
        code, found = checked(stage)
        assert code == 1
        assert found["coordinator.proxy"]["what"] == "none is on the way to the coordinator"
        assert found["coordinator.reach"]["severity"] == "problem", "the firewall is there"
        stage.lines[SITE].only_from = ""
        code, found = checked(stage)
        assert code == 0, found
    assert tinyproxy.connections() == 0


@pytest.fixture
def other(stage: Any) -> Any:
    """The same hospitals with a study of other folds and columns."""
    columns = [builders.number("marker"), builders.number("age", unit="years")]
    return stage.another("other", seed=12, strata=[], clinical=columns)


@pytest.mark.usefixtures("firewall")
def test_two_studies_side_by_side_end_as_each_alone_through_a_proxy_whose_password_nothing_keeps(
    stage: Any, staging: Any, other: Any, tinyproxy: Tinyproxy, tmp_path: Path
) -> None:
    file = behind(stage, tinyproxy, RIGHT)
    with_a_bundle(stage, tmp_path)
    with stage.sites():
        code, found = checked(stage)
        assert code == 0, found
        assert f"127.0.0.1:{tinyproxy.port}, with a user and a password" in doctored(stage)
        before = tinyproxy.connections()
        with stage.run(beside=[other]) as run:
            beside = staging.Run(other, run.screen)
            stage.amid(run, SITE)
            check_environments(stage)
            stage.finishes_as_undisturbed(run)
            other.finishes_as_undisturbed(beside)
        assert tinyproxy.connections() > before
    assert kept_in(stage.rehearsal.root, RIGHT, file) == []
    for one in (run, beside):
        for name, screen in stage.screens.items():
            assert f"run {one.folder.name}: takes part in the study" in screen.text, name
        assert f"report: {one.folder.path / 'report' / 'index.html'}" in run.screen.text


def check_environments(stage: Any) -> None:
    """Check that the proxy's password is in the SuperNode's environment and nowhere else."""
    assert RIGHT in stage.supernode(SITE).environ()["https_proxy"]
    launcher = stage.launcher(SITE)
    for one in (launcher, *launcher.children(recursive=True)):
        with suppress(psutil.Error):  # it has just ended
            assert "https_proxy" not in one.environ()
    lines = []
    for one in psutil.process_iter():
        with suppress(psutil.Error):
            lines.append(" ".join(one.cmdline()))
    assert not any(form.decode() in line for form in forms(RIGHT) for line in lines)


def with_a_bundle(stage: Any, folder: Path) -> None:
    """Let the hospital trust a file of several authorities."""
    from server.deployment.authority import make_authority

    site = stage.rehearsal.site(SITE)
    settings = load_site(site / "site.toml")
    assert settings.deployment is not None
    own = settings.deployment.root_certificates
    assert own is not None
    bundle = folder / "bundle.pem"
    bundle.write_bytes(make_authority("the hospital's own").certificate + own.read_bytes())
    deployment = settings.deployment.model_copy(update={"root_certificates": bundle})
    write_site(site, settings.model_copy(update={"deployment": deployment}))
