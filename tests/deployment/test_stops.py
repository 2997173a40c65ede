"""Runs that do not begin, or end at enrolment, with a reason."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from client.gate.approvals import approve, revoke
from common.masking import identity
from server.deployment.founding import renew


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
    for told in (screen.text, (stranger / "work" / "supernode.log").read_text(encoding="utf-8")):
        assert "the certificate expired on" in told
        assert "tell the coordinator to renew it" in told
    assert runs_of(stage) == before


def test_a_site_that_approved_another_app_or_study_answers_nothing(
    stage: Any, staging: Any
) -> None:
    study, app = stage.study, stage.prepared.app_file.read_bytes()
    other_app, other_study = hashlib.sha256(app + b"#").hexdigest(), "0" * 64
    keys = {name: stage.rehearsal.site(name) / "keys" / "identity.pem" for name in ("a", "b")}
    own = {name: identity.load(path).private for name, path in keys.items()}
    revoke(stage.work("a"), own["a"], hashlib.sha256(app).hexdigest())
    approve(stage.work("a"), own["a"], "app", other_app, "fedlnm")
    with stage.sites():
        with stage.run() as run:
            assert run.screen.ends() == 1
        assert "site a" in run.screen.text
        assert "app_not_approved" in run.screen.text
        staging.approve_all(stage, "a")
        revoke(stage.work("b"), own["b"], study.digest())
        approve(stage.work("b"), own["b"], "study", other_study, study.name)
        with stage.run("resume") as run:
            assert run.screen.ends() == 1
        assert "site b" in run.screen.text
        assert "study_not_approved" in run.screen.text
        staging.approve_all(stage, "b")
    assert "app_not_approved" in (stage.work("a") / "gate.log").read_text(encoding="utf-8")
    assert "study_not_approved" in (stage.work("b") / "gate.log").read_text(encoding="utf-8")
