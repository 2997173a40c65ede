"""The app answers what the gate in front of it has derived, and derives nothing itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.gate.schema import StoppedError
from client.gate.verifier import Verifier
from client.store.derived_files import DerivedFiles, DerivedWeights
from client.store.run_files import RunTables
from client.store.site_db import site_db
from common.errors import StudyError
from common.messages.exchanges import RoundPlan, SumRequest, TrainRequest
from common.study.model import Study
from tests import builders

RUN, NUMBER = "run", 3
WEIGHTS, NOTHING = np.arange(4, dtype=np.float32), np.zeros(0, dtype=np.float32)


@pytest.fixture
def verifier(tmp_path: Path) -> Verifier:
    return Verifier(tmp_path, "a", builders.study(), RUN)


def noted(work: Path, digest: str) -> None:
    """As the gate's own derivation notes a question."""
    site_db(work).fix("question", f"{RUN}/{NUMBER}", f"phase {digest}")


def sums(study: Study, items: Any = ()) -> SumRequest:
    return SumRequest(RUN, study.digest(), "session", NUMBER, items, ())


def training(study: Study, weights: Any = WEIGHTS) -> TrainRequest:
    plan = RoundPlan(1, 0.1, -1, 10, keep=False)
    running = np.zeros((0, 2), dtype=np.int64)
    about = (RUN, study.digest(), "session", NUMBER, "dl3d", "final")
    return TrainRequest(*about, weights, running, plan, ())


def test_a_question_that_the_gate_has_derived_is_answered(
    verifier: Verifier, tmp_path: Path
) -> None:
    asked = sums(verifier.study)
    noted(tmp_path, asked.digest)
    assert verifier.recall(asked) is asked


def test_a_question_that_the_gate_has_not_derived_is_not(verifier: Verifier) -> None:
    with pytest.raises(StoppedError, match="derived no such question"):
        verifier.recall(sums(verifier.study))


def test_nor_is_another_one_of_the_same_number(verifier: Verifier, tmp_path: Path) -> None:
    noted(tmp_path, training(verifier.study).digest)
    with pytest.raises(StoppedError, match="derived no such question"):
        verifier.recall(sums(verifier.study))
    with pytest.raises(StoppedError, match="derived no such question"):
        verifier.recall(training(verifier.study, WEIGHTS + 1))


def test_nothing_is_answered_of_a_run_that_was_stopped(verifier: Verifier, tmp_path: Path) -> None:
    asked = sums(verifier.study)
    noted(tmp_path, asked.digest)
    verifier.stop("made up")
    with pytest.raises(StoppedError, match="stopped here before: made up"):
        verifier.recall(asked)


def test_a_training_begins_with_the_weights_that_the_gate_derived(
    verifier: Verifier, tmp_path: Path
) -> None:
    whole = training(verifier.study)
    noted(tmp_path, whole.digest)
    files = DerivedFiles(RunTables(tmp_path, RUN).folder)
    files.offer(DerivedWeights(NUMBER, WEIGHTS, NOTHING))
    found = verifier.recall(whole.without_weights(()))
    assert np.array_equal(found.weights, WEIGHTS)
    files.offer(DerivedWeights(NUMBER, WEIGHTS + 1, NOTHING))
    with pytest.raises(StoppedError, match="derived no such question"):
        verifier.recall(whole.without_weights(()))
    files.offer(DerivedWeights(NUMBER + 1, WEIGHTS, NOTHING))
    with pytest.raises(StudyError, match="no weights were derived"):
        verifier.recall(whole.without_weights(()))
