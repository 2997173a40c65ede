"""The order of a study's phases, with a checkpoint after each and after every training round."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.bundle.bundle import Bundle, save_files
from common.bundle.signature import sign_files
from common.models import BASE_MODELS
from common.statistics.base import Float
from common.study.model import Study
from common.utils.versions import installed
from server.federation.federation import Federation
from server.phases.arm import Arm
from server.phases.clinical import fit_clinical
from server.phases.decision import StackerFit
from server.phases.deep import (
    Network,
    TrainedNetwork,
    deep_arm,
    rounds_of,
    rows_per_fold,
    train_variant,
    variants,
)
from server.phases.evaluation import Findings, evaluate_test_sets
from server.phases.fusion import fit_feature_fusion
from server.phases.fusion_bins import decide_by_bins
from server.phases.fusion_rows import decide_by_rows
from server.phases.participants import participants
from server.phases.radiomics import fit_radiomics
from server.phases.table1 import table1
from server.phases.training_columns import training_columns
from server.report.recorded_settings import recorded_settings
from server.run.checkpoint import Checkpoint, Slot

SOFTWARE = ("fedlnm", "flwr", "torch", "monai", "numpy", "scipy", "scikit-learn", "skops")

T = TypeVar("T")


@dataclass
class StudyRun:
    """One run of a study over one federation.

    Parameters
    ----------
    federation : the sites.
    out : folder of the run.
    label : `federated`, `pooled` or `local:NAME`, as it stands in results.json.
    engine : name of the engine, for the report.
    signer : the coordinator's identity key, which signs the bundle; None = it is not signed.
    """

    federation: Federation
    out: Path
    label: str = "federated"
    engine: str = "inprocess"
    signer: Ed25519PrivateKey | None = None
    timing: dict[str, float] = field(default_factory=dict)
    trained: dict[str, dict[str, TrainedNetwork]] = field(default_factory=dict)
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    _began: float = 0.0

    def __post_init__(self) -> None:
        digest = self.federation.study.digest()
        self.checkpoint = Checkpoint(self.out / "checkpoint", digest, self._so_far)
        so_far = self.checkpoint.newest()
        if so_far:
            self.timing, self.started = so_far["timing"], so_far["started"]
            self.federation.number = so_far["number"]
            self.federation.refusals.extend(so_far["refusals"])
            self.federation.epsilons.update(so_far["epsilons"])
            self.federation.transfers.restore(so_far["transfers"], anew="enrolment")
        self._announce(resumed=bool(so_far))

    def run(self) -> dict[str, Any]:
        """Every phase in order; the dictionary that `server.report.results` validates."""
        study = self.federation.study
        with self._phase("enrolment"):
            self.federation.enrol()
        rows1 = self._step("table1", lambda: table1(self.federation))
        arms: dict[str, Arm] = {}
        if "clinical" in study.base_models:
            arms["clinical"] = self._step("clinical", lambda: fit_clinical(self.federation))
        if "radiomics" in study.base_models:
            arms["radiomics"] = self._step("radiomics", lambda: fit_radiomics(self.federation))
        networks: tuple[Network, ...] = ("dl2d", "dl3d")
        for network in networks:
            if network in study.base_models:
                arms[network] = self._train(network)
        if "fusion_feature" in study.fusion_models:
            arms["fusion_feature"] = self._step(
                "fusion_feature", lambda: fit_feature_fusion(self.federation, arms)
            )
        training, bundle, stacker, edges = self._step("fusion_decision", lambda: self._decide(arms))
        files = bundle.to_files()
        if self.signer is not None:
            files = sign_files(files, self.signer)
        save_files(files, self.out / "bundle")
        testing = self._step(
            "evaluation", lambda: vars(evaluate_test_sets(self.federation, bundle, files, edges))
        )
        self._end_phase()
        return self._results(rows1, arms, [training, testing], stacker)

    def _train(self, network: Network) -> Arm:
        folds = self._step("folds", lambda: rows_per_fold(self.federation), phase=network)
        trained: dict[str, TrainedNetwork] = {}
        for variant in variants(self.federation):
            name = f"{network}-{variant}"
            rounds = Slot(self.checkpoint, f"{name}-rounds")
            most = rounds_of(self.federation, network, variant, trained)
            train = partial(train_variant, self.federation, network, variant, folds, rounds, most)
            trained[variant] = self._step(name, train, phase=network)
            rounds.clear()
        self.trained[network] = trained
        return self._step(f"{network}-arm", lambda: deep_arm(self.federation, network, trained))

    def _decide(self, arms: dict[str, Arm]) -> tuple[Any, Bundle, StackerFit | None, Float]:
        """Out-of-fold performance, the bundle, the stacker, and edges for the test sets."""
        study = self.federation.study
        decide = {"rows": decide_by_rows, "bins": decide_by_bins}[study.fusion.pooling]
        decision = decide(self.federation, arms)
        bundle = Bundle(
            study=study.digest(),
            models=decision.models,
            networks={name: trained["final"].weights for name, trained in self.trained.items()},
            cutoffs=decision.cutoffs,
            software=installed(*SOFTWARE),
            settings=study.canonical(),
            training=training_columns(arms),
        )
        return vars(decision.training), bundle, decision.stacker, decision.edges

    # -- bookkeeping ----------------------------------------------------------------------------

    def _step(self, name: str, run: Callable[[], T], phase: str = "") -> T:
        if self.checkpoint.has(name):
            stored: T = self.checkpoint.read(name)
            return stored
        with self._phase(phase or name.removesuffix("-arm")):
            value: T = self.checkpoint.step(name, run)
            return value

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        """A part of a phase: it may be entered several times in a row."""
        transfers, phases = self.federation.transfers, phases_of(self.federation.study)
        if transfers.phase != name:
            self._end_phase()
            transfers.phase = name
            number = phases.index(name) + 1
            self.federation.events.tell("phase", phase=name, number=number, phases=len(phases))
        self._began = time.monotonic()
        yield
        self.timing[name] = self._seconds(name)
        self._began = 0.0

    def _end_phase(self) -> None:
        phase = self.federation.transfers.phase
        if phase:
            seconds = round(self._seconds(phase), 3)
            self.federation.events.tell("phase_done", phase=phase, seconds=seconds)

    def _seconds(self, phase: str) -> float:
        """How long a phase has taken so far, over all starts of the run."""
        now = time.monotonic() - self._began if self._began else 0.0
        return self.timing.get(phase, 0.0) + now

    def _so_far(self) -> dict[str, Any]:
        """What a resumed run needs beside the results of the steps."""
        federation, phase = self.federation, self.federation.transfers.phase
        return {
            "number": federation.number,
            "refusals": federation.refusals,
            "epsilons": federation.epsilons,
            "transfers": federation.transfers.table(),
            "timing": {**self.timing, phase: self._seconds(phase)},
            "started": self.started,
        }

    def _announce(self, *, resumed: bool) -> None:
        """Say what lies ahead, from which the time that is left is estimated."""
        study = self.federation.study
        blocks = {"dl2d": study.dl2d, "dl3d": study.dl3d}
        trainings = len(variants(self.federation))
        rounds = {
            name: block.rounds * trainings
            for name, block in blocks.items()
            if name in study.base_models
        }
        self.federation.events.tell(
            "resumed" if resumed else "started",
            phases=phases_of(study),
            rounds=rounds,
            trainings=trainings,
            complete=self.checkpoint.has("evaluation"),
        )

    def _results(
        self,
        rows1: Any,
        arms: dict[str, Arm],
        findings: list[dict[str, Any]],
        stacker: StackerFit | None,
    ) -> dict[str, Any]:
        study, run = self.federation.study, {"run": self.label}
        tables = {
            key: [{**run, **row} for found in findings for row in found[key]]
            for key in vars(Findings())
        }
        tables["refusals"] += [{**row, **run} for row in self.federation.refusals]
        fusion = {}
        if stacker is not None:
            candidates = [{"name": n, "cv_auc": a} for n, a in stacker.candidates.items()]
            fusion = {self.label: {"candidates": candidates, "used": stacker.used}}
        return {
            "schema": 1,
            "study": {
                "name": study.name,
                "endpoint": study.endpoint,
                "digest": study.digest(),
                "seed": study.seed,
                "sites": [{"name": s.name, "trains": s.trains} for s in study.sites],
                "test_sets": [
                    {"name": t.name, "split": t.split, "sites": t.sites} for t in study.test_sets
                ],
            },
            "run": {
                "engine": self.engine,
                "started": self.started,
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
                "machine": f"{platform.system()} {platform.machine()}",
            },
            "settings": recorded_settings(study),
            "warnings": self._warnings(),
            **tables,
            "table1": rows1,
            "participants": participants(self.federation),
            "selection": {self.label: {name: _selection(arm) for name, arm in arms.items()}},
            "fusion": fusion,
            "training": {self.label: self._training()},
            "privacy": self._privacy(),
            "transfers": [{**row, **run} for row in self.federation.transfers.table()],
            "timing": {phase: {self.label: s} for phase, s in self.timing.items()},
            "software": installed(*SOFTWARE),
        }

    def _privacy(self) -> list[dict[str, Any]]:
        """What the networks' training has cost, by site; nothing without differential privacy."""
        private = self.federation.study.differential_privacy
        if not private.on:
            return []
        return [
            {
                "run": self.label,
                "site": site,
                "epsilon": epsilon,
                "delta": private.delta,
                "noise_multiplier": private.noise_multiplier,
            }
            for site, epsilon in sorted(self.federation.epsilons.items())
        ]

    def _training(self) -> dict[str, dict[str, dict[str, list[float | None]]]]:
        return {
            network: {
                variant: {
                    "train_loss": [_told(loss) for loss in one.losses],
                    "validation_loss": [_told(loss) for loss in one.validation],
                    "held_out_loss": [one.held_out_loss],
                    "best_round": [float(one.best_round)],
                }
                for variant, one in trained.items()
            }
            for network, trained in self.trained.items()
        }

    def _warnings(self) -> list[str]:
        found = masking_warnings(self.federation.study)
        for network, trained in self.trained.items():
            if "random" in trained["final"].origin:
                kind = "2D" if network == "dl2d" else "3D"
                found.append(f"{kind} network: {trained['final'].origin}.")
        for site, member in self.federation.members.items():
            if member.excluded:
                found.append(
                    f"{site} left out {member.excluded} patient(s) whose data could not be used."
                )
        return found


def _told(loss: float) -> float | None:
    """None for a loss that no site has told, as under differential privacy."""
    return None if np.isnan(loss) else loss


def phases_of(study: Study) -> tuple[str, ...]:
    """Names of a study's phases, in order."""
    fusion = ["fusion_feature"] if "fusion_feature" in study.fusion_models else []
    arms = [name for name in BASE_MODELS if name in study.base_models]
    return ("enrolment", "table1", *arms, *fusion, "fusion_decision", "evaluation")


def _selection(arm: Arm) -> dict[str, Any]:
    return {key: value for key, value in arm.selection.items() if value is not None}


def masking_warnings(study: Study) -> list[str]:
    """What the coordinator could see of single sites, in words; nothing where all is masked."""
    if study.privacy.masking == "off":
        return [
            "Masking is off: sums and weights are added in the clear, so the coordinator can see"
            " what each single site sends."
        ]
    subsets = {"train": "training", **{test.name: test.name for test in study.test_sets}}
    clear = [
        what
        for subset, what in subsets.items()
        if not study.masked(subset) and (subset == "train" or len(study.members(subset)) > 1)
    ]
    if not clear:
        return []
    return [
        f"Sums over fewer than three sites are not masked ({', '.join(clear)}), as the study says:"
        " the coordinator can see what each of these sites sends."
    ]
