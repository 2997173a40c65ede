"""Runs that do not begin, or end at enrolment, with a reason."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from client.cli import app
from client.gate.approvals import approve, revoke
from client.gate.standing import read_standing
from common.masking import identity
from server.deployment.init import renew


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


def test_a_site_that_approved_another_study_answers_nothing(stage: Any, staging: Any) -> None:
    began = time.time()
    own = identity.load(stage.rehearsal.site("b") / "keys" / "identity.pem").private
    revoke(stage.work("b"), own, stage.study.digest())
    approve(stage.work("b"), own, "0" * 64, stage.study.name)
    with stage.sites():
        with stage.run() as run:
            staging.until(lambda: "waits for b, " in shown_to(stage, "a"), "a hears of b")
            assert run.screen.ends() == 1
        staging.approve_study(stage, "b")
        assert "runs no study at the moment" in shown_to(stage, "a")
    needs = [need.code for need in read_standing(stage.work("b")).needs if need.since > began]
    assert needs == ["study_not_approved"]
    assert read_standing(stage.work("a")).needs == ()
    assert read_standing(stage.work("a")).polled > 0
    assert "site b" in run.screen.text
    assert "study_not_approved" in run.screen.text
    assert "study_not_approved" in (stage.work("b") / "gate.log").read_text(encoding="utf-8")
