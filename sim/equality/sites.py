"""Sites in memory that answer real messages, and a federation that records its rounds.

Only the reading of files is left out: requests are encoded, checked by the disclosure rules, and
answered by the handlers that serve a hospital.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from client import handlers
from client.app import HANDLERS
from client.data.cohort import Cohort, Patient, assign_folds, check_cohort, read_cohort
from client.data.tables import SiteTables
from client.gate.site_gate import AdmittedRequest, SiteGate
from client.imaging.prepared import PreparedImages
from client.site import SiteSettings
from client.store.cohorts import CohortFingerprint, Dealing
from client.store.group_key import GroupKeys
from client.store.masks import RunMasks
from client.store.releases import Releases
from client.store.run_files import RunTables
from client.store.site_db import Draft
from client.workspace import Workspace
from common.messages.codec import decode, encode
from common.messages.exchanges import SumItem
from common.statistics.base import Float, Int, Rows, describe
from common.study.model import Study
from server.federation.federation import Federation
from sim.engines.inprocess import InProcessGrid
from sim.equality.synthetic import SyntheticCohort
from sim.sites import place_identities

RUN = "equality"


class GivenFeatures(PreparedImages):
    """Features given as matrices, by reading, instead of extracted from images."""

    def __init__(
        self, names: tuple[str, ...], patients: Sequence[str], readings: Mapping[str, Float]
    ) -> None:
        self._names, self._readings = names, readings
        self._place = {patient: i for i, patient in enumerate(patients)}

    @property
    def has_features(self) -> bool:
        """True when there are radiomics features."""
        return bool(self._names)

    def features(self, reading: str, patients: Sequence[str]) -> tuple[tuple[str, ...], Float]:
        """Return names, and values (patients, features) with NaN rows for missing readings."""
        return self._names, self._readings[reading][[self._place[p] for p in patients]]


class GivenWorkspace(Workspace):
    """Site's workspace whose cohort and features are given."""

    def __init__(
        self,
        settings: SiteSettings,
        study: Study,
        cohort: Cohort,
        images: PreparedImages | None,
    ) -> None:
        self.settings, self.study, self.run = settings, study, RUN
        self.run_tables = RunTables(settings.work, RUN)
        cohort.patients = assign_folds(cohort.patients, study)
        check_cohort(cohort, study)
        self.cohort, self.images, self.excluded = cohort, images, 0
        self.draft = Draft(settings.work)
        self.fingerprint = CohortFingerprint(self.draft, study, RUN, cohort, images)
        self.dealing = Dealing(self.draft, study, cohort)
        self.tables = SiteTables(cohort, study, self.run_tables, images)
        self.releases = Releases(settings, study, RUN, cohort, self.draft)
        self.masks = RunMasks(settings, study, RUN, self.draft)
        self.group = GroupKeys(settings.work, study, RUN, settings.name, self.masks)


def synthetic_sites(cohort: SyntheticCohort, study: Study, work: Path) -> dict[str, Workspace]:
    """Return one workspace per site of the study, over the patients of the synthetic cohort."""
    sites: dict[str, Workspace] = {}
    for index, name in enumerate(study.site_names):
        at = np.flatnonzero(cohort.site == index)
        ids = [f"{name}{i:04d}" for i in range(at.size)]
        readings = {reading: values[at] for reading, values in cohort.readings.items()}
        patients = [
            Patient(
                patient_id=ids[i],
                origin=name,
                label=int(cohort.label[row]),
                split=str(cohort.split[row]),
                fold=-1,
                clinical={key: float(column[row]) for key, column in cohort.clinical.items()},
                image=None,
                masks={r: Path(r) for r, x in readings.items() if np.isfinite(x[i]).all()},
                period=None if cohort.period is None else int(cohort.period[row]),
            )
            for i, row in enumerate(at)
        ]
        settings = _settings(name, study, work)
        features = GivenFeatures(cohort.names, ids, readings)
        sites[name] = GivenWorkspace(settings, study, Cohort(name, patients), features)
    return sites


def folder_sites(folder: Path, study: Study, work: Path) -> dict[str, Workspace]:
    """Return one workspace per site of the study, over the cohort.csv of its folder in `folder`."""
    sites: dict[str, Workspace] = {}
    for name in study.site_names:
        cohort = read_cohort(folder / name, name, study)
        sites[name] = GivenWorkspace(_settings(name, study, work), study, cohort, None)
    return sites


def _settings(name: str, study: Study, work: Path) -> SiteSettings:
    """Return settings of a site whose identity key is the simulated one."""
    folder = work / name
    place_identities([(name, folder / "site.toml")])
    identity = folder / "keys" / "identity.pem"
    return SiteSettings(name=name, work=folder, identity=identity, verify=False)


class Hospitals:
    """Substitute for a ClientApp: node i is site i. Adds up the sites' processor time."""

    def __init__(self, workspaces: Mapping[str, Workspace]) -> None:
        self._workspaces = workspaces
        self.seconds = 0.0

    def __call__(self, message: Message, context: Context) -> Message:
        """Decode, answer, encode and sign, like the app of a site and its gate."""
        start = time.process_time()
        workspace = self._workspaces[Path(str(context.node_config["site-config"])).name]
        kind = message.metadata.message_type
        request = decode(message.content)
        reply = getattr(handlers, HANDLERS[kind])(workspace, request)
        asked = AdmittedRequest(kind, request, workspace.study)
        content = SiteGate(workspace.settings).receipted(asked, encode(reply))
        answer = Message(content, reply_to=message)
        self.seconds += time.process_time() - start
        return answer


# bytes of a round shared by several steps count for the first named here
STEPS = {
    "ComBat": ("WithinBatches",),
    "z-score": ("Means", "CentredSquares", "Missingness"),
    "Spearman": ("Histogram", "CappedHistogram", "RankGram"),
    "nearly constant": ("FoldHistogram",),
    "ICC": ("PairedMoments",),
    "LASSO": ("FoldGram",),
    "SVM": ("SvmGradient",),
    "Cox": ("CoxGradient",),
    "Platt": ("FoldCounts", "PlattSums"),
}
KEPT = ("PairedMoments", "RankGram")


def _step(items: Sequence[SumItem]) -> str:
    asked = {describe(item.statistic) for item in items}
    for step, statistics in STEPS.items():
        if asked & set(statistics):
            return step
    return "other"


@dataclass
class WatchedFederation(Federation):
    """Federation that counts rounds and bytes by part and step, and keeps the results to compare.

    `part` is set by the caller (a model, Table 1); within a model the statistics asked for
    determine the step.
    """

    part: str = ""
    outcomes: list[tuple[SumItem, Any]] = field(default_factory=list)

    def sum_many(self, items: Sequence[SumItem]) -> list[Any]:
        """Sum like the federation, under the step's name."""
        self.transfers.phase = f"{self.part}/{_step(items)}"
        results = super().sum_many(items)
        for item, result in zip(items, results, strict=True):
            if describe(item.statistic) in KEPT:
                self.outcomes.append((item, result))
        return results

    def outcomes_of(self, statistic: str) -> list[tuple[SumItem, Any]]:
        """Return requests of this statistic with their results, in the order of the rounds."""
        return [(item, r) for item, r in self.outcomes if describe(item.statistic) == statistic]

    def traffic(self, phase: str) -> tuple[int, float]:
        """Return rounds, and kB up of the site that sends most, of all phases with this prefix."""
        rounds: dict[str, int] = {}
        sent: dict[str, int] = {}
        for row in self.transfers.table():
            if str(row["phase"]).startswith(phase):
                site = str(row["site"])
                rounds[site] = rounds.get(site, 0) + int(str(row["messages"]))
                sent[site] = sent.get(site, 0) + int(str(row["bytes_up"]))
        return max(rounds.values(), default=0), max(sent.values(), default=0) / 1000.0


def federate(study: Study, hospitals: Hospitals) -> WatchedFederation:
    """Return an enrolled federation over these hospitals."""
    grid = InProcessGrid(
        cast(ClientApp, hospitals), {name: Path(name) for name in study.site_names}
    )
    federation = WatchedFederation(grid=grid, study=study, run=RUN, part="enrolment")
    federation.transfers.phase = "enrolment"
    federation.enrol()
    return federation


def pooled_rows(sites: Mapping[str, Workspace], study: Study, table: str, subset: str) -> Rows:
    """Stack all sites' raw rows of a base table, the input of a pooled analysis."""
    members = (
        study.training_sites
        if subset == "train"
        else [name for name in study.site_names if name in study.test_set(subset).sites]
    )
    parts = [sites[name].tables.read(table, subset) for name in members]
    return Rows(
        values=np.vstack([part.values for part in parts]),
        columns=parts[0].columns,
        label=np.concatenate([part.label for part in parts]),
        fold=np.concatenate([part.fold for part in parts]),
        period=None if study.follow_up is None else _periods(parts),
        batch=np.repeat([study.site_names.index(name) for name in members], [r.n for r in parts]),
    )


def _periods(parts: Sequence[Rows]) -> Int:
    return np.concatenate([part.period for part in parts if part.period is not None])


@dataclass(frozen=True)
class PooledTables:
    """Stacked rows of all sites as a `common.transforms.views.TableReader`."""

    sites: Mapping[str, Workspace]
    study: Study

    def read(self, name: str, subset: str) -> Rows:
        """Return the stacked rows of a base table."""
        return pooled_rows(self.sites, self.study, name, subset)
