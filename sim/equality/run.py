"""Comparison of the two data sets, from sites to findings."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from threadpoolctl import threadpool_limits

from client.workspace import Workspace
from common.bundle.bundle import Bundle, sign_files
from common.errors import InputError
from common.statistics.base import Float, Rows
from common.study.harmonisation import HarmonisationSettings
from common.study.model import Study, load_study, parse_study
from common.transforms.views import materialise
from server.federation.federation import Federation
from server.phases.clinical import fit_clinical
from server.phases.decision import Decision
from server.phases.evaluation import evaluate_test_sets
from server.phases.fitted_model import FittedModel
from server.phases.fusion_rows import decide_by_rows
from server.phases.radiomics import fit_radiomics
from server.phases.table1 import table1
from server.report.rows import evaluation_rows, table1_rows
from sim.engines.inprocess import SERVER_NODE, task_identity
from sim.equality import follow_up, hazards, label_free, references
from sim.equality.baseline import compare_table1
from sim.equality.findings import Finding, Findings, as_table, at_most
from sim.equality.linear import Tell, compare_filling, compare_linear, pooled_clinical, steps_of
from sim.equality.sites import (
    Hospitals,
    PooledTables,
    WatchedFederation,
    federate,
    folder_sites,
    pooled_rows,
    synthetic_sites,
)
from sim.equality.synthetic import FULL, SMALL, Plan, SyntheticCohort, generate
from sim.equality.testing import compare_test_sets
from sim.sites import COORDINATOR, simulated_identity, with_identities

# usual folder of the public heart data beside the project
HEART = Path(__file__).resolve().parents[3] / "shared" / "data" / "heart"


@dataclass(frozen=True)
class Outcome:
    """All lines, omissions with reasons, and the duration."""

    lines: tuple[Finding, ...]
    left_out: tuple[str, ...]
    seconds: float

    @property
    def missed(self) -> tuple[Finding, ...]:
        """Lines that miss their bound."""
        return tuple(line for line in self.lines if not line.ok)

    def record(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "ok": not self.missed,
            "findings": [line.record() for line in self.lines],
            "left_out": list(self.left_out),
            "seconds": round(self.seconds, 1),
        }


def measure(parts: Sequence[str], *, small: bool, heart: Path, console: Console) -> Outcome:
    """Compare on the data sets asked for, reporting progress and showing the tables.

    Raises
    ------
    InputError : only the heart data were asked for, and they are not there.
    """
    start = time.monotonic()

    def emit(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - start:6.0f} s[/dim]  {text}", highlight=False)

    groups: list[list[Finding]] = []
    left_out: list[str] = []
    if "synthetic" in parts:
        groups.append(compare_synthetic(SMALL if small else FULL, emit))
    if "heart" in parts:
        why = _lacking(heart)
        if why and len(parts) == 1:
            raise InputError(why, where="heart data", remedy="give their folder with --heart")
        if why:
            left_out.append(f"heart data: {why}")
        else:
            groups.append(compare_heart(heart, emit))
    outcome = Outcome(
        lines=tuple(line for group in groups for line in group),
        left_out=tuple(left_out),
        seconds=time.monotonic() - start,
    )
    _show(groups, outcome, console)
    return outcome


def _lacking(heart: Path) -> str:
    """Name the missing part of the heart data, empty when all is there."""
    for needed in (HEART_STUDY, heart):
        if not needed.exists():
            return f"there is no {needed}"
    return ""


def _show(groups: Sequence[Sequence[Finding]], outcome: Outcome, console: Console) -> None:
    for group in groups:
        console.print(as_table(group, group[0].data))
    for text in outcome.left_out:
        console.print(f"[yellow]left out[/yellow]  {text}", highlight=False)
    for line in outcome.missed:
        console.print(
            f"[bold red]missed[/bold red]  {line.data}; {line.step}: {line.measure}"
            f" is {line.error:.4g}, must be {line.bound}",
            highlight=False,
        )
    bounded = sum(line.bound is not None for line in outcome.lines)
    console.print(
        f"{bounded - len(outcome.missed)} of {bounded} bounds hold ({outcome.seconds:.0f} s)",
        highlight=False,
    )


SEED = 20240101
ROUNDS, MEGABYTES, SECONDS = 45, 25.0, 60.0
FINE_CELLS = 256
HEART_STUDY = Path(__file__).resolve().parents[2] / "examples" / "heart" / "study.toml"

STUDY = """
name = "equality"
endpoint = "event"
base_models = ["clinical", "radiomics"]
fusion_models = []
sites = [{ name = "north" }, { name = "east" }, { name = "south" }, { name = "west" }]
clinical = [
    { name = "age", kind = "continuous", unit = "years", decimals = 0 },
    { name = "marker", kind = "continuous", summary = "median", decimals = 1 },
    { name = "sex", kind = "binary", levels = ["female", "male"] },
    { name = "stage", kind = "ordinal", levels = ["1", "2", "3", "4"] },
    { name = "region", kind = "categorical", levels = ["upper", "middle", "lower"] },
]
test_sets = [
    { name = "internal", split = "internal_test", sites = ["north", "east", "south", "west"] },
    { name = "external", split = "external_test", sites = ["west"] },
]
[privacy]
min_class_per_fold = 2
"""

MODELS: dict[str, Callable[[Federation], FittedModel]] = {
    "clinical": fit_clinical,
    "radiomics": fit_radiomics,
}


@dataclass
class Comparison:
    """One study with its sites, its federation, and the findings so far."""

    study: Study
    sites: Mapping[str, Workspace]
    hospitals: Hospitals
    federation: WatchedFederation
    findings: Findings

    @staticmethod
    def over(sites: Mapping[str, Workspace], study: Study, data: str) -> Comparison:
        """Enrol the sites."""
        hospitals = Hospitals(sites)
        federation = federate(study, hospitals)
        return Comparison(study, sites, hospitals, federation, Findings(data))

    @property
    def tables(self) -> PooledTables:
        """All sites' rows stacked."""
        return PooledTables(self.sites, self.study)

    def fit(self, model: str) -> tuple[FittedModel, float]:
        """Fit a model; return it and the server's processor time."""
        self.federation.part = model
        start, at_sites = time.process_time(), self.hospitals.seconds
        fitted = MODELS[model](self.federation)
        everything = time.process_time() - start
        return fitted, everything - (self.hospitals.seconds - at_sites)

    def decide(self, fitted: Mapping[str, FittedModel]) -> Decision:
        """Return cut-offs and out-of-fold performance."""
        self.federation.part = self.federation.transfers.phase = "decision"
        return decide_by_rows(self.federation, fitted)

    def clipped(self, z: Float) -> Float:
        """Return z-scores for the Gram matrix of the clinical model: clipped in guarded mode."""
        limit = np.inf if self.study.privacy.mode == "faithful" else self.study.selection.clip
        return np.clip(z, -limit, limit)

    def linear(self, model: FittedModel, decision: Decision, pooled: Rows, tell: Tell) -> None:
        """Compare LASSO, SVM and Platt scaling of a model, with progress for each outer problem."""
        rows = evaluation_rows(decision.training, self.study.privacy.min_cell)
        (auc,) = [r["auc"] for r in rows["performance"] if r["model"] == model.name]
        compare_linear(self.findings, self.federation, model, auc, self.tables, pooled, tell)

    def clinical(self, model: FittedModel, decision: Decision) -> None:
        """Compare the clinical model."""
        rows = pooled_clinical(self.sites, self.study)
        rows = replace(rows, values=self.clipped(rows.values))
        traffic = self.federation.traffic("clinical/z-score")
        compare_filling(self.findings, model, self.tables, rows, traffic)
        self.linear(model, decision, rows, _untold)

    def evaluation(self, decision: Decision) -> None:
        """Score and compare all test sets."""
        bundle = Bundle(
            study=self.study.digest(),
            models=decision.models,
            networks={},
            cutoffs=decision.cutoffs,
            software={},
            settings=self.study.canonical(),
            training={},
        )
        self.federation.part = self.federation.transfers.phase = "evaluation"
        files = sign_files(bundle.to_files(), simulated_identity(COORDINATOR))
        found = evaluate_test_sets(self.federation, bundle, files, decision.edges)
        rows = evaluation_rows(found, self.study.privacy.min_cell)
        traffic = self.federation.traffic("evaluation")
        compare_test_sets(self.findings, rows, self.sites, self.study, traffic)

    def table1(self) -> None:
        """Compare Table 1."""
        self.federation.part = "table1"
        rows = table1_rows(self.study, table1(self.federation))
        traffic = self.federation.traffic("table1/")
        compare_table1(self.findings, rows, self.sites, self.study, traffic)


def compare_synthetic(plan: Plan, tell: Tell) -> list[Finding]:
    """Run all steps on the synthetic cohort."""
    study = with_identities(parse_study(STUDY, where="sim/equality"))
    with _workplace() as work:
        tell(f"synthetic: making {plan.rows} patients with {plan.features} features")
        cohort = generate(plan, SEED)
        sites = synthetic_sites(cohort, study, work / "first")
        title = f"synthetic: {sum(plan.train)} x {plan.features}, {len(sites)} unequal sites"
        one = Comparison.over(sites, study, title)
        tell("synthetic: z-score, and both models")
        pooled = pooled_rows(sites, study, "radiomics", "train")
        _, z, names = label_free.compare_standardise(one.findings, one.federation, pooled)
        clinical, _ = one.fit("clinical")
        radiomics, seconds = one.fit("radiomics")
        decision = one.decide({"clinical": clinical, "radiomics": radiomics})
        tell("synthetic: exact Spearman correlations, the filter with B = 256, ICC")
        fewest = study.privacy.min_category
        rare = references.nearly_constant(z, pooled.fold, fewest)
        steps = steps_of(radiomics)
        tied = label_free.compare_ties(one.findings, steps["tied"]["names"], z, names)
        gone = {name for name, drop in zip(names, rare, strict=True) if drop} | tied
        usual = tuple(name for name in names if name not in gone)
        varying = pooled.values[:, [pooled.columns.index(name) for name in usual]]
        exact = (references.spearman(varying), usual)
        kept, reliable = steps["spearman"]["names"], steps["icc"]["names"]
        traffic = one.federation.traffic("radiomics/Spearman")
        label_free.compare_spearman(one.findings, kept, exact, study, traffic)
        _finer(one.findings, cohort, study, work / "finer", exact)
        label_free.compare_icc(one.findings, one.federation, sites, kept, reliable)
        scored = materialise(radiomics.features[-1], one.tables, "train")
        usable = z[:, [names.index(name) for name in reliable]]
        label_free.compare_scores(one.findings, usable, scored.values, traffic)
        one.linear(radiomics, decision, scored, tell)
        _whole_model(one, seconds, plan)
        tell("synthetic: principal components")
        label_free.compare_components(one.findings, one.federation, one.tables)
        tell("synthetic: harmonised features")
        _harmonised(one.findings, cohort, study, work)
        missing = follow_up.lacking()
        tell(f"synthetic: a time to event{f', left out without {missing}' if missing else ''}")
        if not missing:
            follow_up.compare_follow_up(one.findings, study, work / "timed", SEED)
        tell("synthetic: a network of discrete hazards")
        hazards.compare_hazards(one.findings, study, work / "hazards", SEED)
        tell("synthetic: clinical model, test sets, Table 1")
        one.clinical(clinical, decision)
        one.evaluation(decision)
        one.table1()
    return one.findings.lines


def compare_heart(folder: Path, tell: Tell) -> list[Finding]:
    """Compare the clinical model, its test set and Table 1 on four hospitals of the heart data.

    Parameters
    ----------
    folder : holds a folder with cohort.csv for every hospital.
    """
    study = with_identities(load_study(HEART_STUDY))
    with _workplace() as work:
        tell("heart: clinical model, test set, Table 1")
        sites = folder_sites(folder, study, work)
        n = pooled_rows(sites, study, "coded", "train").n
        one = Comparison.over(sites, study, f"heart: {n} patients, {len(sites)} hospitals")
        model, _ = one.fit("clinical")
        decision = one.decide({"clinical": model})
        one.clinical(model, decision)
        one.evaluation(decision)
        one.table1()
    return one.findings.lines


def _untold(text: str) -> None:
    """Report no progress, where a few columns take no time."""


@contextmanager
def _workplace() -> Iterator[Path]:
    """Make a folder for the sites' memory and the server's identity, and use one thread."""
    with (
        tempfile.TemporaryDirectory(prefix="equality-") as folder,
        task_identity(SERVER_NODE),
        threadpool_limits(limits=1),
    ):
        yield Path(folder)


def _finer(
    findings: Findings,
    cohort: SyntheticCohort,
    study: Study,
    work: Path,
    exact: tuple[Float, tuple[str, ...]],
) -> None:
    """Run the Spearman filter of the same study with more cells."""
    selection = study.selection.model_copy(update={"spearman_bins": FINE_CELLS})
    finer = study.model_copy(update={"selection": selection})
    federation = federate(finer, Hospitals(synthetic_sites(cohort, finer, work)))
    label_free.compare_finer_spearman(findings, federation, exact)


def _harmonised(findings: Findings, cohort: SyntheticCohort, study: Study, work: Path) -> None:
    """Harmonise the features of the same cohort, without covariates and with two."""
    for place, covariates in enumerate(((), ("age", "sex"))):
        settings = HarmonisationSettings(tables=("radiomics",), covariates=covariates)
        other = study.model_copy(update={"harmonisation": settings})
        sites = synthetic_sites(cohort, other, work / f"harmonised-{place}")
        federation = federate(other, Hospitals(sites))
        label_free.compare_harmonise(findings, federation, sites, other)


def _whole_model(one: Comparison, seconds: float, plan: Plan) -> None:
    """Add rounds, bytes and time of the model; the time bound holds for the full size only."""
    traffic = one.federation.traffic("radiomics/")
    step = one.findings.step("radiomics model, whole", "limits", traffic)
    step.add("rounds", traffic[0], at_most(ROUNDS))
    step.add("MB up, largest site", traffic[1] / 1000.0, at_most(MEGABYTES))
    step.add("server time, s, one core", seconds, at_most(SECONDS) if plan.timed else None)
