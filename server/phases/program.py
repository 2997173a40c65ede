"""A study as one deterministic program: its phases in order, and what each of them asks for.

Given the study, the enrolment and the answers so far, the next question follows. Whoever runs the
program brings the sites (`Federation`) and may keep the results of its steps (`Steps`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from common.bundle.bundle import Bundle, Files
from common.dossier.disclosure import EVERYBODY, Disclosure, Phase
from common.models import BASE_MODELS, NETWORKS, NetworkName
from common.study.model import Study
from server.phases.clinical import clinical_asks, fit_clinical
from server.phases.decision import Decision
from server.phases.evaluation import EvaluationFindings, evaluate_test_sets, evaluation_asks
from server.phases.fitted_model import FittedModel, training_columns
from server.phases.fusion import fit_feature_fusion, fusion_asks
from server.phases.fusion_bins import bins_asks, decide_by_bins
from server.phases.fusion_rows import decide_by_rows, rows_asks
from server.phases.networks import (
    AfterRound,
    TrainedNetwork,
    TrainingState,
    network_asks,
    network_model,
    rounds_of,
    rows_per_fold,
    train_variant,
    variants,
)
from server.phases.protocol import Federation
from server.phases.radiomics import fit_radiomics, radiomics_asks
from server.phases.table1 import Table1Findings, table1, table1_asks

BYTES_A_NAME, BYTES_OF_ENROLMENT = 48, 2000
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
    fitted: dict[str, FittedModel] = {}
    trained: dict[str, dict[str, TrainedNetwork]] = {}
    if "clinical" in study.base_models:
        fitted["clinical"] = steps.step("clinical", partial(fit_clinical, federation))
    if "radiomics" in study.base_models:
        fitted["radiomics"] = steps.step("radiomics", partial(fit_radiomics, federation))
    for network in study.networks:
        own = trained[network] = _train(federation, steps, network)
        make = partial(network_model, federation, network, own)
        fitted[network] = steps.step(f"{network}-model", make, phase=network)
    if "fusion_feature" in study.fusion_models:
        fuse = partial(fit_feature_fusion, federation, dict(fitted))
        fitted["fusion_feature"] = steps.step("fusion_feature", fuse)
    decide = partial(DECIDE[study.fusion.pooling], federation, fitted)
    decision = steps.step("fusion_decision", decide)
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
    )


# -- declarations ---------------------------------------------------------------------------------


def phase_names(study: Study) -> tuple[str, ...]:
    """Name a study's phases, in order."""
    fusion = ["fusion_feature"] if "fusion_feature" in study.fusion_models else []
    models = [name for name in BASE_MODELS if name in study.base_models]
    return ("enrolment", "table1", *models, *fusion, "fusion_decision", "evaluation")


def declared_phases(study: Study) -> tuple[Phase, ...]:
    """Declare all that every phase asks for, as large as it can be: the body of the dossier."""
    declare: dict[str, Callable[[Study], Phase]] = {
        "enrolment": enrolment_asks,
        "table1": table1_asks,
        "clinical": clinical_asks,
        "radiomics": radiomics_asks,
        **{name: partial(network_asks, network=name) for name in NETWORKS},
        "fusion_feature": fusion_asks,
        "fusion_decision": bins_asks if study.fusion.pooling == "bins" else rows_asks,
        "evaluation": evaluation_asks,
    }
    return tuple(declare[name](study) for name in phase_names(study))


def enrolment_asks(study: Study) -> Phase:
    """Declare the replies to the enrolment."""
    features = study.radiomics.expected_features if study.needs_images else 0
    names = len(study.clinical_columns) + features
    asked = Disclosure(
        exchange="query.enrol",
        what="names and numbers",
        subset=EVERYBODY,
        parts={"column names": f"{names:,}", "patients and positives": "2 a set"},
        size=BYTES_OF_ENROLMENT + BYTES_A_NAME * names,
        rounds=1,
    )
    return Phase("enrolment", "Who takes part, and with how many patients", 1, (asked,))
