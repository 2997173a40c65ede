"""A coordinator turns strangers away, says so, and logs it."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.errors import StudyError
from common.flower.app import installed_app
from common.flower.control import Control
from common.masking import identity
from server.deployment.authority import make_authority
from server.deployment.nginx import FLEET_CALLS
from server.deployment.roster import read_roster
from server.deployment.supervisor import Services, register_sites
from tests.deployment.stage import until

HOUR = 3600


@pytest.fixture(scope="module")
def superlink(stage: Any) -> Iterator[Control]:
    """The SuperLink behind its proxy, with the enrolled sites registered; no study runs."""
    with stage.proxy(), Services(stage.hub).running():
        control = Control(stage.hub.settings().superlink, stage.hub.authority)
        public = identity.load(stage.hub.identity).private.public_key()
        register_sites(control, read_roster(stage.hub.roster, public))
        yield control
        control.close()


def until_logged(stage: Any, line: str) -> None:
    """Wait for a line of nginx's access log: it is written after the answer."""
    log = stage.hub.proxy / "access.log"
    until(lambda: line in log.read_text(encoding="utf-8"), f"nginx logs {line}", log)


def status_of(stage: Any, path: str) -> int:
    """Return the proxy's status for a path."""
    url = f"https://127.0.0.1:{stage.hub.settings().public_port}{path}"
    context = ssl.create_default_context(cafile=str(stage.hub.authority))
    request = urllib.request.Request(url, b"", {"Content-Type": "application/protobuf"})
    try:
        with urllib.request.urlopen(request, context=context, timeout=30) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return int(error.code)


# -- the sites' side of the proxy ----------------------------------------------------------------


def test_no_run_can_be_started_from_the_sites_side_of_the_proxy(
    stage: Any, superlink: Control
) -> None:
    outside = Control(stage.hub.settings().address, stage.hub.authority)
    try:
        with pytest.raises(StudyError, match="403"):
            outside.start_run(installed_app(), {})
        with pytest.raises(StudyError, match="403"):
            outside.register("stranger", b"")
        with pytest.raises(StudyError, match="403"):
            outside.nodes()
    finally:
        outside.close()
    assert superlink.unfinished_runs() == []
    assert len(superlink.nodes()) == len(stage.lines)
    until_logged(stage, '"POST /v1/control/start-run HTTP/1.1" 403')


@pytest.mark.usefixtures("superlink")
def test_a_call_of_a_supernode_gets_through_and_needs_its_signature(stage: Any) -> None:
    for call in FLEET_CALLS:
        assert status_of(stage, f"/v1/fleet/{call}") == 401, call
    for path in ("/v1/control/start-run", "/v1/fleet/%2e%2e/control/start-run", "/docs"):
        assert status_of(stage, path) == 403, path


# -- sites ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("superlink")
def test_a_site_that_nobody_enrolled_is_not_let_in(stage: Any, stranger: Path) -> None:
    words = "the coordinator does not let this node in"
    with stage.site(stranger) as screen:
        screen.says(words)
        screen.says("the coordinator has not enrolled this site")
    assert words in (stranger / "work" / "site.log").read_text(encoding="utf-8")
    until_logged(stage, '"POST /v1/fleet/activate-node HTTP/1.1" 4')


@pytest.mark.usefixtures("superlink")
def test_a_site_trusts_no_coordinator_of_another_authority(stage: Any, stranger: Path) -> None:
    (stranger / "keys" / "coordinator.pem").write_bytes(make_authority("other").certificate)
    words = "the certificate is not to be trusted"
    with stage.site(stranger) as screen:
        assert screen.ends() == 1
    assert words in screen.text
    assert words in (stranger / "work" / "site.log").read_text(encoding="utf-8")


@pytest.mark.usefixtures("superlink")
@pytest.mark.parametrize(
    ("shift", "words"),
    [
        (HOUR, "ahead of the coordinator's: its messages would be refused"),
        # which comes first depends on how old the hospital's files are
        (-HOUR, "behind the coordinator's: its messages would be refused|were written later"),
    ],
)
def test_a_site_whose_clock_is_an_hour_off_does_not_start(
    stage: Any, stranger: Path, clock: Any, shift: int, words: str
) -> None:
    clock.put_forward(shift)
    try:
        with stage.site(stranger, clock.environment) as screen:
            assert screen.ends() == 1
    finally:
        clock.put_right()
    for reported in (
        screen.text,
        (stranger / "work" / "site.log").read_text(encoding="utf-8"),
    ):
        assert any(alternative in reported for alternative in words.split("|"))
        assert "let this machine set its clock from a time server" in reported


# -- the coordinator -----------------------------------------------------------------------------


@pytest.mark.usefixtures("superlink")
def test_a_second_superlink_on_the_port_is_refused(stage: Any) -> None:
    with pytest.raises(StudyError, match="somebody listens on port"), Services(stage.hub).running():
        pass
