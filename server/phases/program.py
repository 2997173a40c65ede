"""A study as one deterministic program: its phases in order, and what each of them asks for.

Given the study, the enrolment and the answers so far, the next question follows. Whoever runs the
program brings the sites (`Federation`) and may keep the results of its steps (`Steps`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar

from common.bundle.bundle import Bundle, Files
from common.dossier.disclosure import EVERYBODY, Disclosure, Phase
from common.masking.group_key import SEALED_BYTES
from common.models import MODELS, NetworkName, in_order
from common.study.model import Study
from server.phases.dealing import deal_folds, dealing_asks
from server.phases.decision import STACKER, Decision, unstacked
from server.phases.evaluation import evaluate_test_sets, evaluation_asks
from server.phases.fitted_model import Earlier, FittedModel, phase_of, training_columns
from server.phases.fusion_bins import bins_asks, decide_by_bins
from server.phases.fusion_rows import decide_by_rows, rows_asks
from server.phases.networks import (
    AfterRound,
    TrainedNetwork,
    TrainingState,
    rounds_of,
    rows_per_fold,
    train_variant,
    variants,
)
from server.phases.protocol import Federation
from server.phases.risk_groups import decide_by_risk, risk_asks
from server.phases.set_findings import EvaluationFindings
from server.phases.table1 import Table1Findings, table1, table1_asks

BYTES_A_NAME, BYTES_OF_ENROLMENT, BYTES_OF_KEYS = 48, 2000, 400
DECIDE = {"rows": decide_by_rows, "bins": decide_by_bins}

T = TypeVar("T")


class Training(Protocol):
    """One training of a network, from its beginning or from an earlier state."""

    def __call__(self, *, begun: TrainingState | None, after_round: AfterRound) -> TrainedNetwork:
        """Train, and call `after_round` with the state after each round."""


class Steps(Protocol):
    """Surroundings of the program: they may keep the result of a step, and skip it next time."""

    def step(self, name: str, work: Callable[[], T], *, phase: str = "") -> T:
        """Return the result of a step.

        Parameters
        ----------
        phase : that the step is part of, where it is not a phase by itself.
        """

    def training(
        self, network: NetworkName, variant: str, rounds: int, train: Training
    ) -> TrainedNetwork:
        """Return the result of a training of at most so many rounds."""

    def files(self, bundle: Bundle) -> Files:
        """Return the files of the final bundle, as they are handed to the sites."""


@dataclass(frozen=True)
class StudyFindings:
    """All findings of a study.

    Parameters
    ----------
    fitted : models by name, without the decision-level fusion.
    trained : networks by name and variant.
    """

    table1: Table1Findings
    fitted: dict[str, FittedModel]
    trained: dict[str, dict[str, TrainedNetwork]]
    decision: Decision
    testing: EvaluationFindings


def run_program(federation: Federation, steps: Steps, software: Mapping[str, str]) -> StudyFindings:
    """Run every phase after the enrolment.

    Parameters
    ----------
    software : versions of the coordinator, for the bundle.
    """
    study = federation.study
    first = steps.step("table1", partial(table1, federation))
    steps.step("dealing", partial(deal_folds, federation), phase="table1")
    fitted: dict[str, FittedModel] = {}
    trained: dict[str, dict[str, TrainedNetwork]] = {}
    for name in in_order(unstacked(study)):
        step = name
        if MODELS[name].network:
            trained[name], step = _train(federation, steps, name), f"{name}-model"
        earlier = Earlier(dict(fitted), trained.get(name, {}))
        fit = partial(phase_of(name).fit, federation, earlier)
        fitted[name] = steps.step(step, fit, phase=name)
    how = DECIDE[study.fusion.pooling] if study.follow_up is None else decide_by_risk
    decide = partial(how, federation, fitted)
    decision = steps.step(STACKER, decide)
    bundle = final_bundle(study, decision, fitted, trained, software)
    evaluate = partial(evaluate_test_sets, federation, bundle, steps.files(bundle), decision.edges)
    return StudyFindings(first, fitted, trained, decision, steps.step("evaluation", evaluate))


def _train(federation: Federation, steps: Steps, network: NetworkName) -> dict[str, TrainedNetwork]:
    study = federation.study
    folds = steps.step("folds", partial(rows_per_fold, federation), phase=network)
    trained: dict[str, TrainedNetwork] = {}
    for variant in variants(study):
        rounds = rounds_of(study, network, variant, trained)
        train = partial(train_variant, federation, network, variant, folds, rounds)
        trained[variant] = steps.training(network, variant, rounds, train)
    return trained


def final_bundle(
    study: Study,
    decision: Decision,
    fitted: Mapping[str, FittedModel],
    trained: Mapping[str, Mapping[str, TrainedNetwork]],
    software: Mapping[str, str],
) -> Bundle:
    """Put all final models into the bundle that the test sets are scored with."""
    return Bundle(
        study=study.digest(),
        models=decision.models,
        networks={name: own["final"].weights for name, own in trained.items()},
        cutoffs=decision.cutoffs,
        software=dict(software),
        settings=study.canonical(),
        training=training_columns(fitted),
        edges=decision.edges,
    )


# -- declarations ---------------------------------------------------------------------------------


def phase_names(study: Study) -> tuple[str, ...]:
    """Name a study's phases, in order."""
    return ("enrolment", "table1", *in_order(unstacked(study)), STACKER, "evaluation")


def declared_phases(study: Study) -> tuple[Phase, ...]:
    """Declare all that every phase asks for, as large as it can be: the body of the dossier."""
    decides = bins_asks if study.fusion.pooling == "bins" else rows_asks
    decides = decides if study.follow_up is None else risk_asks
    models = [phase_of(name).asks for name in in_order(unstacked(study))]
    declared = (enrolment_asks, first_asks, *models, decides, evaluation_asks)
    return tuple(declare(study) for declare in declared)


def first_asks(study: Study) -> Phase:
    """Declare what Table 1 and the dealing of the folds ask for."""
    first, (dealing, rounds) = table1_asks(study), dealing_asks(study)
    return replace(first, rounds=first.rounds + rounds, asked=(*first.asked, *dealing))


def enrolment_asks(study: Study) -> Phase:
    """Declare the replies to the enrolment, and the key that sites of masked sums agree on."""
    features = study.radiomics.expected_features if study.needs_images else 0
    names = len(study.clinical_columns) + features
    asked = [
        Disclosure(
            exchange="query.enrol",
            what="names and numbers",
            subset=EVERYBODY,
            parts={"column names": f"{names:,}", "patients and positives": "2 a set"},
            size=BYTES_OF_ENROLMENT + BYTES_A_NAME * names,
            rounds=1,
        )
    ]
    if any(study.masked(subset) for subset in ("train", *(t.name for t in study.test_sets))):
        others = len(study.site_names) - 1
        for exchange, what, size in (
            ("query.key", "sealed parts of a key", BYTES_OF_KEYS * others),
            ("query.agree", "word that the key is there", 0),
        ):
            parts = {"sealed": f"{others} x {SEALED_BYTES}"} if size else {}
            asked.append(Disclosure(exchange, what, EVERYBODY, parts, size, 1))
    purpose = "Who takes part, and with how many patients"
    return Phase("enrolment", purpose, len(asked), tuple(asked))
