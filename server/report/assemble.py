"""The dictionary of one run that `server.report.results` validates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.evaluation.linkage import Linkage
from common.messages.exchanges import EnrolReply
from common.models import MODELS
from common.study.model import Study
from server.phases.decision import StackerFit
from server.phases.fitted_model import FittedModel
from server.phases.networks import TrainedNetwork
from server.phases.program import StudyFindings
from server.report.comparisons import with_holm, with_roles
from server.report.privacy_audit import canary_rows, membership_rows, release_rows
from server.report.recorded_settings import recorded_settings
from server.report.rows import (
    TABLES,
    evaluation_rows,
    participant_rows,
    slice_rows,
    table1_rows,
)


@dataclass(frozen=True)
class RunRecord:
    """Facts about one run that no phase knows.

    Parameters
    ----------
    label : `federated`, `pooled`, `local:NAME` or `without:NAME`.
    about : engine, machine, start and end.
    members : reply to the enrolment, by site.
    epsilons : by site, privacy spent in training.
    objections : of sites to the result of a round, as in the events.
    refusals, transfers : rows, without the run's name.
    timing : seconds by phase.
    software : versions of the coordinator.
    """

    label: str
    about: Mapping[str, str]
    members: Mapping[str, EnrolReply]
    epsilons: Mapping[str, float]
    objections: Sequence[Mapping[str, Any]]
    refusals: Sequence[Mapping[str, Any]]
    transfers: Sequence[Mapping[str, Any]]
    timing: Mapping[str, float]
    software: Mapping[str, str]


def results_of(study: Study, found: StudyFindings, record: RunRecord) -> dict[str, Any]:
    """Assemble all that a run found."""
    run, minimum = {"run": record.label}, study.privacy.min_cell
    both = (found.decision.training, found.testing)
    measured = [evaluation_rows(one, minimum, study.follow_up) for one in both]
    for row in measured[0]["performance"]:
        row["apparent_auc"] = found.testing.apparent.get(row["model"])
    tables = {key: [{**run, **row} for rows in measured for row in rows[key]] for key in TABLES}
    tables["delong"] = with_roles(tables["delong"], study.analysis.primary)
    tables["strata_tests"] = with_holm(tables["strata_tests"])
    tables["refusals"] += [{**row, **run} for row in record.refusals]
    return {
        "schema": 1,
        "study": _about(study),
        "run": dict(record.about),
        "settings": recorded_settings(study),
        "warnings": [
            *masking_warnings(study),
            *left_out_warnings(study, found.fitted),
            *_warnings(found.trained, record.members),
            *_objections(record.objections),
            *_absences(study, found.trained),
        ],
        **tables,
        "table1": table1_rows(study, found.table1),
        "participants": participant_rows(study, record.members),
        "slices": slice_rows(found.table1),
        "selection": {
            record.label: {
                name: {k: v for k, v in model.selection.items() if v is not None}
                for name, model in found.fitted.items()
            }
        },
        "fusion": _fusion(found.decision.stacker, record.label),
        "linkage": _linkage(found.decision.linkage, record.label),
        "membership": membership_rows(found.testing, study, record.label),
        "releases": release_rows(found.testing, record.label),
        "canaries": canary_rows(found.testing, record.label),
        "training": {record.label: _training(found.trained)},
        "privacy": _privacy(study, record),
        "transfers": [{**row, **run} for row in record.transfers],
        "timing": {phase: {record.label: s} for phase, s in record.timing.items()},
        "software": dict(record.software),
    }


def _about(study: Study) -> dict[str, Any]:
    return {
        "name": study.name,
        "endpoint": study.endpoint,
        "digest": study.digest(),
        "seed": study.seed,
        "sites": [{"name": s.name, "trains": s.trains} for s in study.sites],
        "test_sets": [
            {"name": t.name, "split": t.split, "sites": t.sites} for t in study.test_sets
        ],
    }


def _fusion(stacker: StackerFit | None, label: str) -> dict[str, Any]:
    if stacker is None:
        return {}
    candidates = [{"name": n, "cv_auc": a} for n, a in stacker.candidates.items()]
    cox = {"cox": stacker.cox} if stacker.cox else {}
    return {label: {"candidates": candidates, "used": stacker.used, **cox}}


def _linkage(linkage: Linkage | None, label: str) -> list[dict[str, Any]]:
    return [] if linkage is None else [{"run": label, **vars(linkage)}]


def _training(trained: Mapping[str, Mapping[str, TrainedNetwork]]) -> dict[str, Any]:
    return {
        network: {
            variant: {
                "train_loss": _known(one.losses),
                "validation_loss": _known(one.validation),
                "held_out_loss": [one.held_out_loss],
                "best_round": [float(one.best_round)],
            }
            for variant, one in variants.items()
        }
        for network, variants in trained.items()
    }


def _known(losses: Iterable[float]) -> list[float | None]:
    """Put None for a loss that no site gave, as under differential privacy."""
    return [None if np.isnan(loss) else loss for loss in losses]


def _privacy(study: Study, record: RunRecord) -> list[dict[str, Any]]:
    """List the privacy spent by site; nothing without differential privacy."""
    private = study.differential_privacy
    if not private.on:
        return []
    return [
        {
            "run": record.label,
            "site": site,
            "epsilon": epsilon,
            "delta": private.delta,
            "noise_multiplier": private.noise_multiplier,
        }
        for site, epsilon in sorted(record.epsilons.items())
    ]


def _warnings(
    trained: Mapping[str, Mapping[str, TrainedNetwork]], members: Mapping[str, EnrolReply]
) -> list[str]:
    found = []
    for network, variants in trained.items():
        if "random" in variants["final"].origin:
            found.append(f"{MODELS[network].short}: {variants['final'].origin}.")
    for site, member in members.items():
        if member.excluded:
            found.append(
                f"{site} left out {member.excluded} patient(s) whose data could not be used."
            )
    return found


def left_out_warnings(study: Study, fitted: Mapping[str, FittedModel]) -> Iterator[str]:
    """Name each declared clinical column that no model uses, and how many differ in it."""
    fewest = study.privacy.min_category
    for one in fitted["clinical"].selection.get("left_out", ()) if "clinical" in fitted else ():
        differ = one["differ"]
        if differ == 0:
            why = "no two training patients are known to differ in it"
        else:
            who = f"fewer than {study.privacy.min_cell}" if differ is None else str(differ)
            why = (
                f"{who} training patients differ from its usual value, and a sum over a fold may"
                f" hold none of them or at least {fewest} (`privacy.min_category`)"
            )
        yield f"No model uses the declared clinical column {one['column']}: {why}."


def _absences(study: Study, trained: Mapping[str, Mapping[str, TrainedNetwork]]) -> Iterator[str]:
    """Say which sites were away in how many rounds of each network."""
    for network, variants in trained.items():
        present = [sites for one in variants.values() for sites in one.present]
        missed = Counter(site for sites in present for site in {*study.training_sites} - {*sites})
        if missed:
            each = ", ".join(f"{site} {n}" for site, n in sorted(missed.items()))
            yield (
                f"The {MODELS[network].short} was trained in {len(present)} rounds, some of which"
                f" went on without hospitals that were away; rounds missed: {each}."
            )


def _objections(objections: Sequence[Mapping[str, Any]]) -> list[str]:
    """Describe the first objection of each site to each network."""
    found: dict[tuple[str, str], str] = {}
    for one in objections:
        text = (
            f"{one['site']} objected to {MODELS[one['network']].short}, {one['variant']}, round"
            f" {one['round']}: the loss of its own held-out patients rose from {one['before']:g}"
            f" to {one['after']:g}."
        )
        found.setdefault((one["site"], one["network"]), text)
    return list(found.values())


def masking_warnings(study: Study) -> list[str]:
    """Say which sums of single sites the coordinator could see; nothing where all is masked."""
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
