"""Runs that do not begin, or end at enrolment, with a reason."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from client.cli import app
from client.gate.approvals import approve, revoke
from client.gate.standing import read_standing
from common.masking import identity
from common.study.release_mark import own_release
from common.utils.versions import minor_release
from server.deployment.init import renew

MINOR = minor_release(own_release())


@pytest.fixture(scope="module")
def hospitals(stage: Any) -> Iterator[None]:
    """All hospitals, over all runs of the tests that ask for them."""
    with stage.sites():
        yield


def runs_of(stage: Any) -> list[Path]:
    return sorted(stage.hub.runs.glob("*"))


def test_with_an_expired_certificate_neither_side_starts(stage: Any, stranger: Path) -> None:
    before = runs_of(stage)
    renew(stage.hub, days=-1)
    try:
        with stage.run() as run:
            assert run.screen.ends() == 1
        assert "the server's certificate has expired" in run.screen.text
        assert f"fedlnm-server renew {stage.hub.root}" in run.screen.text
        with stage.proxy(), stage.site(stranger) as screen:
            assert screen.ends() == 1
    finally:
        renew(stage.hub)
    for reported in (
        screen.text,
        (stranger / "work" / "site.log").read_text(encoding="utf-8"),
    ):
        assert "the certificate expired on" in reported
        assert "tell the coordinator to renew it" in reported
    assert runs_of(stage) == before


def shown_to(stage: Any, name: str) -> str:
    """All that `fedlnm-site status` says at a hospital."""
    done = CliRunner().invoke(app, ["status", str(stage.rehearsal.site(name))])
    return f"{done.output} {done.exception or ''}"


@pytest.mark.usefixtures("hospitals")
def test_a_coordinator_of_another_minor_release_is_refused_with_both_versions(
    stage: Any, staging: Any, tmp_path: Path
) -> None:
    with stage.run(environment=staging.of_release("9.9.9", tmp_path)) as run:
        assert run.screen.ends() == 1
    for name in stage.lines:
        assert f"site {name}" in run.screen.text
        reported = (stage.work(name) / "gate.log").read_text(encoding="utf-8")
        assert f"runs release '9.9', and release {own_release()} is installed here" in reported
        assert "install the newest release '9.9' here" in reported
    assert "it installs release 9.9.9, or another that shares the first two" in run.screen.text


@pytest.fixture(scope="module")
def in_vain(
    stage: Any, staging: Any, hospitals: None, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """A run after b has approved another study, and while c runs an older release."""
    began = time.time()
    own = identity.load(stage.rehearsal.site("b") / "keys" / "identity.pem").private
    revoke(stage.work("b"), own, stage.study.digest())
    approve(stage.work("b"), own, "0" * 64, stage.study.name)
    stage.screens["c"].process.terminate()
    stage.screens["c"].ends()
    stage.start_again("c", staging.of_release("0.0.7", tmp_path_factory.mktemp("older")))
    try:
        with stage.run() as run:
            staging.until(lambda: "waits for b, " in shown_to(stage, "a"), "a hears of b")
            assert run.screen.ends() == 1
    finally:
        staging.approve_study(stage, "b")
    return SimpleNamespace(text=run.screen.text, began=began)


def test_a_site_that_approved_another_study_answers_nothing(stage: Any, in_vain: Any) -> None:
    assert "runs no study at the moment" in shown_to(stage, "a")
    standing = {name: read_standing(stage.work(name)) for name in "ab"}
    new = {n: [need.code for need in standing[n].needs if need.since > in_vain.began] for n in "ab"}
    assert new == {"a": [], "b": ["study_not_approved"]}
    assert standing["a"].polled > in_vain.began
    assert "site b" in in_vain.text
    assert "study_not_approved" in in_vain.text
    assert "study_not_approved" in (stage.work("b") / "gate.log").read_text(encoding="utf-8")


def test_a_hospital_of_an_older_minor_release_is_refused_with_both_versions(
    stage: Any, in_vain: Any
) -> None:
    assert "site c: has another release of fedlnm installed" in in_vain.text
    assert f"which runs {own_release()}" in in_vain.text
    said = f"the coordinator runs release '{MINOR}', and release 0.0.7 is installed here"
    assert said in stage.screens["c"].text
    assert f"install the newest release '{MINOR}' here" in stage.screens["c"].text
