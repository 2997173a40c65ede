"""Strategies where hospitals differ: `python -m bench.differing_hospitals`.

One 3D network is trained over four hospitals by every strategy, on two phantoms: *scanner shift*
(the hospitals' scanners differ far more than the usual phantom's) and *label skew* (so do their
shares of patients with the endpoint). After every round the global network is scored on three
hospitals that train nothing; for FedBN that is the mean of their normalisation. At the end
it is scored on the test patients of those that train too, where those of FedBN use their own.
The scores are computed here, outside the product, which never sees one before a study has ended.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from bench.tables import conditions, put_section
from client.app import app
from client.training.inference import crops_of, own_layers
from client.training.loop import infer
from client.workspace import Workspace, open_workspace
from common.networks.flat import norm_ranges, with_parts
from common.networks.resnet import network_with
from common.study.analysis import AnalysisSettings
from common.study.model import NetworkSettings, Study, load_study, write_study
from server.federation.federation import Federation
from server.phases.networks import rows_per_fold, train_variant
from sim.engines.inprocess import SERVER_NODE, InProcessGrid, task_identity
from sim.phantom.generate import DEFAULT, generate
from sim.phantom.plan import PhantomPlan, Scanner
from sim.sites import find_sites, place_sites, with_identities

SEEDS = (20240101, 1, 2)
GOAL = 0.75
ADAM = {"optimiser": "adam", "learning_rate": 2e-3}
SGD = {"optimiser": "sgd", "learning_rate": 2e-2, "momentum": 0.9}
RUNS: dict[str, dict[str, Any]] = {
    "fedavg": {"strategy": "fedavg", **ADAM},
    "fedprox": {"strategy": "fedprox", "strategy_options": {"proximal_mu": 0.1}, **ADAM},
    "fedavgm": {"strategy": "fedavgm", "strategy_options": {"server_momentum": 0.5}, **ADAM},
    "fedadam": {"strategy": "fedadam", **ADAM},
    "fedyogi": {"strategy": "fedyogi", **ADAM},
    "fedbn": {"strategy": "fedbn", **ADAM},
    "scaffold": {"strategy": "scaffold", **ADAM},
    "fedavg, 16 bits": {"strategy": "fedavg", "transfer_bits": 16, **ADAM},
    "fedavg, SGD": {"strategy": "fedavg", **SGD},
    "scaffold, SGD": {"strategy": "scaffold", **SGD},
    "fednova, SGD": {"strategy": "fednova", **SGD},
}
SHIFTED = {  # pixel, slice, kernel, noise, offset
    "north": Scanner(0.8, 1.5, 0.5, 6.0, 0.0),
    "east": Scanner(0.7, 1.0, 1.0, 30.0, 60.0),
    "south": Scanner(0.9, 2.0, 0.5, 12.0, -50.0),
    "west": Scanner(1.0, 2.5, 1.2, 40.0, 35.0),
}
SKEWED = {"north": 0.15, "east": 0.75, "south": 0.3, "west": 0.8}


def plans() -> dict[str, PhantomPlan]:
    """The two phantoms; everything else as in `make study`, without the false protocol cue."""
    plain = [dataclasses.replace(h, protocol_bias=0.0) for h in DEFAULT.hospitals]
    shifted = [dataclasses.replace(h, scanner=SHIFTED.get(h.name, h.scanner)) for h in plain]
    skewed = [
        dataclasses.replace(h, positive_share=SKEWED.get(h.name, h.positive_share)) for h in plain
    ]
    return {
        "scanner shift": dataclasses.replace(DEFAULT, name="shift", hospitals=tuple(shifted)),
        "label skew": dataclasses.replace(DEFAULT, name="skew", hospitals=tuple(skewed)),
    }


@dataclass(frozen=True)
class Outcome:
    """Measures of one training: AUC by round on the external set, and at the end on both sets."""

    external: tuple[float, ...]
    final: float
    internal: float

    @property
    def rounds_to_goal(self) -> float:
        """The first round with the AUC that was aimed at; infinite if none."""
        return next((n for n, auc in enumerate(self.external, 1) if auc >= GOAL), float("inf"))


def prepared(plan: PhantomPlan, seed: int, root: Path) -> tuple[Study, Path]:
    """The phantom on disk, and its study with the 3D network alone."""
    folder = root / f"phantom-{plan.name}-{seed}"
    generate(folder, seed=seed, plan=plan)
    study = load_study(folder / "study.toml")
    # a hospital of 20 patients with the endpoint in most has few without
    few = study.privacy.model_copy(update={"min_per_class": 1, "min_class_per_fold": 0})
    only = {"base_models": ("dl3d",), "fusion_models": (), "folds": 3, "privacy": few}
    nothing = {"analysis": AnalysisSettings()}  # with one model, nothing is compared
    return study.model_copy(update=only | nothing), folder


def train(
    study: Study, data: Path, settings: Mapping[str, Any], rounds: int, root: Path
) -> Outcome:
    """One federated training on all training patients, scored on the way."""
    block = NetworkSettings(**{**study.dl3d.model_dump(), "rounds": rounds, **settings})
    named = with_identities(study.model_copy(update={"dl3d": block}))
    with tempfile.TemporaryDirectory(dir=root) as out:
        folders = [data / name for name in named.site_names]
        sites = place_sites(
            find_sites(folders, named), Path(out), root / "cache", exclude_bad_patients=False
        )
        file = write_study(named, Path(out) / "study.toml")
        federation = Federation(InProcessGrid(app, sites), load_study(file), run="bench")
        open_workspace.cache_clear()
        with task_identity(SERVER_NODE):
            federation.enrol()
            seen: list[Any] = []
            folds = rows_per_fold(federation)
            trained = train_variant(
                federation, "dl3d", "final", folds, rounds,
                after_round=lambda state: seen.append(state.model["weights"].copy()),
            )  # fmt: skip
        spaces = {
            name: open_workspace(path, federation.study.digest(), "bench")
            for name, path in sites.items()
        }
        external = tuple(_auc(spaces, named, "external_1", w, own=False) for w in seen)
        final = _auc(spaces, named, "external_1", trained.weights, own=False)
        internal = _auc(spaces, named, "internal", trained.weights, own=True)
    return Outcome(external, final, internal)


def _auc(
    spaces: Mapping[str, Workspace], study: Study, subset: str, weights: Any, *, own: bool
) -> float:
    scores, labels = [], []
    for name in study.members(subset):
        space = spaces[name]
        used = weights
        kept = own_layers(space.run_tables.folder, "dl3d", "final").kept() if own else None
        model = network_with(used, "dl3d", study.dl3d)
        if kept is not None:
            used = with_parts(used, norm_ranges(model), kept)
            model = network_with(used, "dl3d", study.dl3d)
        patients = space.cohort.subset(study, subset)
        crops = crops_of(space, "dl3d", patients)
        scores.append(infer(model, "dl3d", crops, study.dl3d, len(patients))[1])
        labels.append([patient.label for patient in patients])
    return float(roc_auc_score(np.concatenate(labels), np.concatenate(scores)))


def kept(file: Path, key: str) -> Outcome | None:
    """Read the results of an earlier call, so that an interrupted one goes on."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    for line in map(json.loads, lines):
        if line["key"] == key:
            return Outcome(tuple(line["external"]), line["final"], line["internal"])
    return None


def keep(file: Path, key: str, outcome: Outcome) -> Outcome:
    """Write it down."""
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps({"key": key, **dataclasses.asdict(outcome)}) + "\n")
    return outcome


def table(found: Mapping[tuple[str, str], list[Outcome]]) -> Iterator[str]:
    """Markdown, mean and range over the seeds."""
    for phantom in dict.fromkeys(name for name, _ in found):
        yield f"\n{phantom}\n"
        yield (
            "| strategy | external_1 AUC | internal AUC | mean AUC of the last five rounds"
            f" | rounds to AUC {GOAL} |"
        )
        yield "|---|---|---|---|---|"
        for (own, strategy), outcomes in found.items():
            if own != phantom:
                continue
            last = [float(np.mean(one.external[-5:])) for one in outcomes]
            rounds = [one.rounds_to_goal for one in outcomes]
            reached = ", ".join(f"{n:.0f}" if np.isfinite(n) else "never" for n in rounds)
            cells = (
                _spread([one.final for one in outcomes]),
                _spread([one.internal for one in outcomes]),
                _spread(last),
                reached,
            )
            yield f"| {strategy} | " + " | ".join(cells) + " |"


def _spread(values: list[float]) -> str:
    return f"{np.mean(values):.3f} ({min(values):.3f}-{max(values):.3f})"


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", nargs="*", default=list(RUNS), help="strategies")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/strategies"))
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    arguments.out.mkdir(parents=True, exist_ok=True)
    found: dict[tuple[str, str], list[Outcome]] = {}
    for seed in SEEDS[: arguments.seeds]:
        for phantom, plan in plans().items():
            study, data = prepared(plan, seed, arguments.out)
            for name in arguments.only:
                key = f"{phantom}, seed {seed}, {name}, {arguments.rounds} rounds"
                outcome = kept(arguments.out / "outcomes.jsonl", key) or keep(
                    arguments.out / "outcomes.jsonl",
                    key,
                    train(study, data, RUNS[name], arguments.rounds, arguments.out),
                )
                found.setdefault((phantom, name), []).append(outcome)
                print(f"{key}: {outcome.final:.3f}", file=sys.stderr, flush=True)
    section = "\n".join([f"{arguments.rounds} rounds. {conditions()}", *table(found)])
    if list(arguments.only) == list(RUNS) and arguments.seeds == len(SEEDS):
        put_section("strategies", section)
    print(section)


if __name__ == "__main__":
    main()
