"""The gate of one site holds the thresholds that the site's file has now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flwr.app import RecordDict

from client.gate import site_gate
from client.gate.schema import StoppedError
from client.gate.site_gate import AdmittedRequest, SiteGate
from client.site import LOG, load_site
from client.store.heads import RolledBackError
from common.messages.codec import decode
from common.messages.exchanges import Problem, SumRequest
from common.study.model import Study
from sim.sites import write_site


@pytest.fixture
def thresholds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Smallest number of rows that each inspected reply was held to."""
    found: list[int] = []

    def note(_: str, __: Any, content: RecordDict, context: Any) -> RecordDict:
        found.append(context.privacy.min_rows)
        return content

    monkeypatch.setattr(site_gate, "inspect", note)
    return found


def asked(study: Study) -> AdmittedRequest:
    return AdmittedRequest("query.sum", SumRequest.__new__(SumRequest), study)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            RolledBackError("a", 7),
            "restore the newest backup of its work folder",
        ),
        (
            StoppedError("study_not_approved", "study abc is not approved"),
            "read what changed (fedlnm-site approve STUDY.toml --diff), and approve it or not",
        ),
        (ValueError("odd"), "not answered: ValueError: odd (gate_failed, log "),
    ],
)
def test_what_the_gate_stops_is_on_the_screen_with_cause_and_cure(
    site: Path, caplog: pytest.LogCaptureFixture, error: Exception, words: str
) -> None:
    SiteGate(load_site(site), site).stop(error, AdmittedRequest("query.sum"))
    (line,) = [r.getMessage() for r in caplog.records if r.name == LOG.name]
    assert line.startswith("site a: not answered: ")
    assert words in line


def test_a_threshold_that_is_raised_while_the_site_runs_holds_for_the_next_reply(
    site: Path, study: Study, thresholds: list[int]
) -> None:
    gate = SiteGate(load_site(site), site)
    gate.release(asked(study), RecordDict())
    settings = load_site(site)
    stricter = study.privacy.model_copy(update={"min_rows": study.privacy.min_rows + 7})
    write_site(site.parent, settings.model_copy(update={"privacy": stricter}))
    gate.release(asked(study), RecordDict())
    assert thresholds[1] == study.privacy.min_rows + 7 > thresholds[0]


def test_nothing_leaves_while_the_sites_file_cannot_be_read(
    site: Path, study: Study, thresholds: list[int]
) -> None:
    gate = SiteGate(load_site(site), site)
    site.write_text("min_rows =", encoding="utf-8")
    left = decode(gate.release(asked(study), RecordDict()))
    assert isinstance(left, Problem)
    assert thresholds == []
