"""Attack (k): what a hospital's people watch is carried out of the hospital, and read there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, Message

from client.app import app
from client.commands.watching import Facts, numbers, words_of
from client.gate.site_gate import SiteGate
from client.gate.standing import FILE, read_standing
from client.gate.supernode import GatedNode
from client.site import SiteSettings
from common.messages.codec import encode
from common.messages.exchanges import EnrolRequest, Problem, Refusal, Refused
from common.study.model import PrivacySettings, Study
from sim.sites import write_site

PATIENT, PATH, COUNT = "Muster_Max_1962", "/data/larynx/Muster_Max_1962", 4711


def refuses(message: Message, context: Context) -> Message:
    """Name a patient in place of a rule, and a count in place of its threshold."""
    refusal = Refusal(rule=PATIENT, threshold=COUNT, subset="train")
    return Message(encode(Refused(refusals=(refusal,), site="a")), reply_to=message)


def has_a_problem(message: Message, context: Context) -> Message:
    return Message(encode(Problem(kind=PATIENT, log_id="0" * 8, site="a")), reply_to=message)


@pytest.mark.parametrize("lies", [refuses, has_a_problem], ids=lambda lies: lies.__name__)
def test_an_app_writes_nothing_of_its_own_into_notices_and_numbers(
    approved_node: Any, gated: Any, enrolment: EnrolRequest, settings: SiteSettings, lies: Any
) -> None:
    gated()
    approved_node.ask("query.enrol", enrolment, lies)
    (need,) = read_standing(settings.work).needs
    assert need.code in ("other_question", "text")
    check_nothing_of_patients(settings)


def test_honest_answers_leave_no_count_name_or_path(
    approved_node: Any, gated: Any, enrolment: EnrolRequest, settings: SiteSettings
) -> None:
    gated()
    approved_node.ask("query.enrol", enrolment, app)
    assert read_standing(settings.work).needs == ()
    check_nothing_of_patients(settings)


def test_a_coordinator_writes_nothing_of_its_own_into_them(
    approved_node: Any, gated: Any, enrolment: EnrolRequest, settings: SiteSettings
) -> None:
    gated()
    for run, study in ((PATIENT, "0" * 64), (PATIENT, enrolment.study)):
        named = EnrolRequest(run=run, study=study, study_json=enrolment.study_json)
        approved_node.ask("query.enrol", named, app)
    approved_node.ask(f"query.{PATIENT}", enrolment, app)
    codes = {one.code for one in read_standing(settings.work).needs}
    assert "unknown_exchange" in codes
    check_nothing_of_patients(settings)


def test_a_refusal_by_a_rule_needs_the_hospital(
    site: Path, approved_node: Any, enrolment: EnrolRequest, settings: SiteSettings
) -> None:
    strict = settings.model_copy(update={"privacy": PrivacySettings(min_rows=100_000)})
    write_site(site.parent, strict)
    with GatedNode(SiteGate(strict, site)).installed():
        approved_node.ask("query.enrol", enrolment, app)
    (need,) = read_standing(settings.work).needs
    assert (need.code, need.study) == (
        "rule rows",
        Study.model_validate_json(enrolment.study_json).name,
    )
    check_nothing_of_patients(settings)


def check_nothing_of_patients(settings: SiteSettings) -> None:
    standing = read_standing(settings.work)
    shown = numbers(Facts("a", standing, 0, standing.polled + 1.0))
    shown += "".join(part for need in standing.needs for part in words_of(need))
    shown += (settings.work / FILE).read_text(encoding="utf-8")
    for secret in (PATIENT, PATH, str(COUNT), str(settings.work), str(settings.data)):
        assert secret not in shown
    values = [float(line.rsplit(" ", 1)[1]) for line in shown.splitlines() if "} " in line]
    assert all(value in (0.0, 1.0) or value > 1.7e9 for value in values), "a count of something"
