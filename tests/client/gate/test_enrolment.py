"""The gate before an enrolment: this machine's software, counts and columns of the study."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from client.gate.inspect import inspect
from client.gate.schema import GateContext
from common.masking.absence import AbsentSite, Consent
from common.masking.agreement import announce, roster_digest
from common.messages.codec import decode, encode
from common.messages.exchanges import EnrolReply, EnrolRequest, Refusal
from common.study.model import Study
from sim.sites import simulated_identity
from tests.fixtures.gate import code


@pytest.fixture
def enrolment(study: Study, context: GateContext) -> tuple[EnrolRequest, EnrolReply]:
    digest = study.digest()
    private, roster = simulated_identity("c"), roster_digest(study.roster)
    reply = EnrolReply(
        site="c",
        study=digest,
        software=dict(context.software),
        counts={"train": (40, 16), "internal": (10, 4), "external_1": (30, 12)},
        columns={"clinical": ("marker", "age", "sex=male", "stage")},
        readings=(),
        excluded=0,
        key=announce(private, "c", "r", digest, roster, "s")[1],
    )
    return EnrolRequest("r", digest, study.model_dump_json(), "s"), reply


def test_a_true_enrolment_passes(enrolment: Any, context: GateContext) -> None:
    request, reply = enrolment
    assert decode(inspect("query.enrol", request, encode(reply), context)).site == "c"


def test_an_enrolment_may_say_what_it_will_withhold(enrolment: Any, context: GateContext) -> None:
    request, reply = enrolment
    reported = replace(reply, withheld=(Refusal("test_class", 5.0, "internal"),))
    assert not code("query.enrol", request, reported, context)


def test_an_enrolment_may_say_what_it_trains_on(enrolment: Any, context: GateContext) -> None:
    request, reply = enrolment
    reported = replace(reply, software=dict(context.software) | {"device": "GPU"})
    assert not code("query.enrol", request, reported, context)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("site", "b"),
        ("study", "0" * 64),
        ("software", {"python": "3.11.7", "patient": "Muster"}),
        ("software", {"python": "3.11.7", "device": "Muster"}),
        ("counts", {"train": (40, 16)}),
        ("counts", {"train": (40, -1), "internal": (10, 4), "external_1": (30, 12)}),
        ("columns", {"clinical": ("marker", "age", "sex=male", "Muster")}),
        ("columns", {"clinical": ("marker", "age", "sex=male", "stage"), "names": ("Muster",)}),
        ("readings", ("r2", "r2")),
        ("withheld", (Refusal("test_rows", 10.0, "Muster"),)),
        ("withheld", (Refusal("test_rows", 11.0, "internal"),)),
        ("withheld", (Refusal("test_rows", 10, "internal"),)),
        ("withheld", (Refusal("test_rows", 10.0, "internal"),) * 2),
        ("withheld", (Refusal("rows", 10.0, "train"),)),
        ("excluded", -1),
        ("excluded", True),
    ],
)
def test_an_enrolment_with_anything_else_is_stopped(
    enrolment: Any, context: GateContext, field: str, value: Any
) -> None:
    request, reply = enrolment
    assert code("query.enrol", request, replace(reply, **{field: value}), context)


def consent(study: Study, site: str = "c", days: int = 30) -> Consent:
    about = site, roster_digest(study.roster), study.digest(), days
    return Consent(days, AbsentSite.sign(simulated_identity(site), *about).signature)


def test_a_consent_that_this_site_signed_for_this_study_passes(
    enrolment: Any, context: GateContext
) -> None:
    request, reply = enrolment
    allowed = replace(reply, consent=consent(context.study))
    assert not code("query.enrol", request, allowed, context)


@pytest.mark.parametrize(
    "change",
    [
        lambda study: consent(study, "b"),
        lambda study: consent(study.model_copy(update={"endpoint": "another"})),
        lambda study: replace(consent(study), days=31),
        lambda study: replace(consent(study), days=4711),
        lambda study: replace(consent(study), days=True),
        lambda study: replace(consent(study), signature="Muster"),
        lambda study: replace(consent(study), signature=""),
    ],
)
def test_any_other_consent_is_stopped(enrolment: Any, context: GateContext, change: Any) -> None:
    request, reply = enrolment
    assert code("query.enrol", request, replace(reply, consent=change(context.study)), context)


@pytest.mark.parametrize("field", ["run", "site", "public_key", "signature", "roster"])
def test_a_key_that_was_not_signed_for_this_run_is_stopped(
    enrolment: Any, context: GateContext, field: str
) -> None:
    request, reply = enrolment
    text = getattr(reply.key, field)
    other = ("B" if text[0] == "A" else "A") + text[1:]
    key = replace(reply.key, **{field: other})
    assert code("query.enrol", request, replace(reply, key=key), context) == "text"


def test_radiomics_columns_must_be_features_that_pyradiomics_has(
    enrolment: Any, context: GateContext
) -> None:
    request, reply = enrolment
    radiomics = context.study.radiomics.model_copy(update={"expected_features": 2})
    study = context.study.model_copy(
        update={"base_models": ("clinical", "radiomics"), "radiomics": radiomics}
    )
    asked = replace(request, study=study.digest(), study_json=study.model_dump_json())
    good = ("original_shape_Elongation", "log-sigma-2-0-mm-3D_glcm_Idmn")

    def passes(*features: str) -> bool:
        columns = {**reply.columns, "radiomics": features}
        given = replace(reply, study=study.digest(), key=None, columns=columns)
        return not code("query.enrol", asked, given, replace(context, study=study))

    assert passes(*good)
    for bad in ("original_shape_Muster", "Muster_shape_Elongation", "original_shape_Elongation"):
        assert not passes(good[0], bad)
