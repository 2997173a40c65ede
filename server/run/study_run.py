"""One run of a study: its phases with checkpoints, progress, and a clock."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.bundle.bundle import Bundle, Files, save_files, sign_files
from common.messages.checkpoint import Checkpoint, Slot
from common.models import NetworkName
from common.utils.versions import installed
from server.federation.federation import Federation
from server.federation.owed import Owed
from server.federation.quorum import OpenRounds
from server.federation.relay import Relay
from server.phases.decision import Decision
from server.phases.networks import (
    TrainedNetwork,
    TrainingState,
    variants,
)
from server.phases.program import Training, phase_names, run_program
from server.phases.set_findings import EvaluationFindings

SOFTWARE = ("fedlnm", "flwr", "torch", "monai", "numpy", "scipy", "scikit-learn", "skops")

T = TypeVar("T")


@dataclass
class StudyRun:
    """One run of a study over one federation; the surroundings of the program of its phases.

    Parameters
    ----------
    federation : the sites.
    out : folder of the run.
    label : `federated`, `pooled`, `local:NAME` or `without:NAME`.
    engine : name of the engine, for the report.
    signer : the coordinator's identity key, which signs the bundle; None = it is not signed.
    reports : a report is written before the run is finished, which takes its time.
    """

    federation: Federation
    out: Path
    label: str = "federated"
    engine: str = "inprocess"
    signer: Ed25519PrivateKey | None = None
    reports: bool = False
    timing: dict[str, float] = field(default_factory=dict)
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    _began: float = 0.0

    def __post_init__(self) -> None:
        digest = self.federation.study.digest()
        self.checkpoint = Checkpoint(self.out / "checkpoint", digest, self._so_far)
        self.federation.relay = Relay(self.out / "relay")
        self.federation.rounds = OpenRounds(self.out / "open-round.safetensors")
        self.federation.owed = Owed(self.out / "owed")
        so_far = self.checkpoint.newest()
        if so_far:
            self.timing, self.started = so_far["timing"], so_far["started"]
            self.federation.number = so_far["number"]
            self.federation.refusals.extend(so_far["refusals"])
            self.federation.epsilons.update(so_far["epsilons"])
            self.federation.objections.extend(so_far.get("objections", ()))
            self.federation.transfers.restore(so_far["transfers"], anew="enrolment")
        self._announce(resumed=bool(so_far))

    def run(self) -> dict[str, Any]:
        """Run every phase in order; return the dictionary that `server.report.results` validates.

        A step that an interrupted run has finished is not run again.
        """
        federation, software = self.federation, installed(*SOFTWARE)
        with self._phase("enrolment"):
            federation.enrol()
        found = run_program(federation, self, software)
        self._end_phase()
        # what a report needs is loaded once there is something to report: a second of every start
        from server.report.assemble import RunRecord, results_of

        record = RunRecord(
            label=self.label,
            about={
                "engine": self.engine,
                "started": self.started,
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
                "machine": f"{platform.system()} {platform.machine()}",
            },
            members=federation.members,
            epsilons=federation.epsilons,
            objections=federation.objections,
            refusals=federation.refusals,
            transfers=federation.transfers.table(),
            timing=self.timing,
            software=software,
        )
        return results_of(federation.study, found, record)

    # -- steps of the program -------------------------------------------------------------------

    def step(self, name: str, work: Callable[[], T], *, phase: str = "") -> T:
        """Return the stored result of a step, or run it and store what it returns."""
        if self.checkpoint.has(name):
            stored: T = self.checkpoint.read(name)
            return stored
        with self._phase(phase or name):
            value: T = self.checkpoint.step(name, work)
        self._show(value)
        return value

    def training(
        self, network: NetworkName, variant: str, rounds: int, train: Training
    ) -> TrainedNetwork:
        """Return the stored result of a training, or go on from its last round."""
        name = f"{network}-{variant}"
        slot = Slot(self.checkpoint, f"{name}-rounds")
        key = {"network": network, "variant": variant}

        def work() -> TrainedNetwork:
            """Train, show every round, and say where training stopped early."""
            start = time.monotonic()

            def after_round(state: TrainingState) -> None:
                """Keep and show a round."""
                nonlocal start
                slot.write(state)
                self._show_round(state, rounds, key, time.monotonic() - start)
                start = time.monotonic()

            done = train(begun=slot.read(), after_round=after_round)
            if (last := len(done.losses)) < rounds:
                self.federation.events.emit(
                    "stopped_early", **key, round=last, best=done.best_round
                )
            return done

        trained = self.step(name, work, phase=network)
        slot.clear()
        return trained

    def files(self, bundle: Bundle) -> Files:
        """Sign the files of the bundle, and save them in the run's folder."""
        files = bundle.to_files()
        if self.signer is not None:
            files = sign_files(files, self.signer)
        save_files(files, self.out / "bundle")
        return files

    # -- progress -------------------------------------------------------------------------------

    def _show(self, value: Any) -> None:
        """Show which stackers were compared, and what sites withhold."""
        emit = self.federation.events.emit
        if isinstance(value, Decision) and value.stacker is not None:
            for name, auc in value.stacker.candidates.items():
                emit("stacker", candidate=name, auc=auc)
        if isinstance(value, EvaluationFindings):
            for site, notes in value.withheld.items():
                for note in notes:
                    emit("withheld", site=site, **vars(note))

    def _show_round(
        self, state: TrainingState, rounds: int, key: dict[str, str], seconds: float
    ) -> None:
        loss = state.losses[-1]
        self.federation.events.emit(
            "round",
            **key,
            round=len(state.losses),
            rounds=rounds,
            loss=None if np.isnan(loss) else loss,
            # of the round before: this one's comes with the next
            held_out_loss=state.validation[-1] if state.validation else None,
            seconds=round(seconds, 3),
        )

    def _announce(self, *, resumed: bool) -> None:
        """Announce phases and rounds, from which the remaining time is estimated."""
        study = self.federation.study
        trainings = len(variants(study))
        self.federation.events.emit(
            "resumed" if resumed else "started",
            phases=phase_names(study),
            rounds={name: study.network(name).rounds * trainings for name in study.networks},
            trainings=trainings,
            complete=self.checkpoint.has("evaluation"),
            reports=self.reports,
        )

    # -- the clock ------------------------------------------------------------------------------

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        """Time a part of a phase, which may be entered several times in a row."""
        transfers, phases = self.federation.transfers, phase_names(self.federation.study)
        if transfers.phase != name:
            self._end_phase()
            transfers.phase = name
            number = phases.index(name) + 1
            self.federation.events.emit("phase", phase=name, number=number, phases=len(phases))
        self._began = time.monotonic()
        yield
        self.timing[name] = self._seconds(name)
        self._began = 0.0

    def _end_phase(self) -> None:
        phase = self.federation.transfers.phase
        if phase:
            seconds = round(self._seconds(phase), 3)
            self.federation.events.emit("phase_done", phase=phase, seconds=seconds)

    def _seconds(self, phase: str) -> float:
        """Return how long a phase has taken so far, over all starts of the run."""
        now = time.monotonic() - self._began if self._began else 0.0
        return self.timing.get(phase, 0.0) + now

    def _so_far(self) -> dict[str, Any]:
        """Return the counts that a resumed run needs beside the results of the steps."""
        federation, phase = self.federation, self.federation.transfers.phase
        return {
            "number": federation.number,
            "refusals": federation.refusals,
            "epsilons": federation.epsilons,
            "objections": federation.objections,
            "transfers": federation.transfers.table(),
            "timing": {**self.timing, phase: self._seconds(phase)},
            "started": self.started,
        }
