"""The page of a prediction that is made up."""

from __future__ import annotations

from datetime import UTC, datetime

from client.predict.inputs import Case
from client.predict.predicting import Outcome
from client.predict.report import Pictures, render
from client.predict.scoring import Outside, Prediction, Score
from client.predict.verify import Opened
from common.bundle.bundle import Bundle
from tests import builders

NASTY = "<script>alert(1)</script>"
STUDY = builders.study(
    endpoint=NASTY, clinical=[builders.levels("stage", NASTY, "T2", kind="ordinal")]
)


def test_no_name_of_a_patient_study_or_level_becomes_markup() -> None:
    opened = Opened(Bundle("", {}, {}, {}, {}, "", {}), STUDY, "", "", (NASTY,))
    case = Case(NASTY, {"stage": 0.0}, None, None)
    scores = (Score("clinical", 0.7, 0.5), Score("radiomics", None, 0.5, (NASTY,)))
    outside = tuple(Outside("clinical", NASTY, NASTY, NASTY, ("clinical",)) for _ in range(10))
    prediction = Prediction(case, scores, outside, (NASTY,))
    outcome = Outcome(opened, (prediction,), (), (NASTY,))
    page = render(outcome, prediction, Pictures(), datetime(2026, 1, 2, tzinfo=UTC))
    assert "<script" not in page
    # title and heading of the patient, endpoint, warning, note, lack, level, 8 lines of 3
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 7 + 24
    assert "2 more stand in prediction.json." in page
