"""Studies without any signal: `python -m bench.no_signal`.

Outcomes are dealt to the patients of each hospital and set at random, so that every AUC should be
0.5 and every Youden index 0 but for chance. Each study fits the clinical and the radiomics model,
and the decision-level fusion of both, over four hospitals in this process; what the report says of
the training set and of both test sets is averaged over the studies. Beside it stand the usual
measures of the same out-of-fold probabilities: the area over all pairs of patients, and the largest
Youden index.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.tables import conditions, put_section, table
from common.bundle.bundle import Bundle, sign_files
from common.statistics.base import Int
from common.study.model import Study, parse_study
from server.phases.evaluation import evaluate_test_sets
from server.report.rows import evaluation_rows
from sim.engines.inprocess import SERVER_NODE, task_identity
from sim.equality.run import STUDY, Comparison
from sim.equality.sites import synthetic_sites
from sim.equality.synthetic import Plan, SyntheticCohort, generate
from sim.sites import COORDINATOR, simulated_identity, with_identities

STUDIES, POSITIVE = 40, 0.4
PLAN = Plan(
    train=(40, 60, 50, 50), test=(40, 60, 50, 50), single=80, twice=(0, 25, 0, 15), features=60
)
MODELS = {"clinical": "clinical", "radiomics": "radiomics", "fusion_decision": "decision fusion"}
MEASURES = {
    "train": "training AUC, pairs within folds",
    "youden": "training Youden index, cut-offs from the other folds",
    "usual": "for comparison: AUC over all pairs of training patients",
    "largest": "for comparison: largest Youden index of the training set",
    "internal": "AUC of the test set over four hospitals",
    "external": "AUC of the test set at one hospital",
}
NO_SKILL = {"youden": 0.0, "largest": 0.0}


def study_of(seed: int) -> Study:
    """Return the study of `make equality` with a decision-level fusion, under another seed."""
    text = STUDY.replace("fusion_models = []", 'fusion_models = ["fusion_decision"]')
    fusion = '[fusion]\ntrees = 50\ncandidates = ["forest"]\n'
    return with_identities(parse_study(f"seed = {seed}\n{text}\n{fusion}", where="bench/no_signal"))


def one_study(seed: int, work: Path) -> dict[str, dict[str, float]]:
    """Return the measures of each model in one study of shuffled outcomes."""
    cohort, study = generate(PLAN, seed), study_of(seed)
    sites = synthetic_sites(replace(cohort, label=_dealt(cohort, seed)), study, work)
    one = Comparison.over(sites, study, f"study {seed}")
    decision = one.decide({model: one.fit(model)[0] for model in ("clinical", "radiomics")})
    bundle = Bundle(
        study.digest(), decision.models, {}, decision.cutoffs, {}, study.canonical(), {}
    )
    files = sign_files(bundle.to_files(), simulated_identity(COORDINATOR))
    tested = evaluate_test_sets(one.federation, bundle, files, decision.edges)
    rows = [evaluation_rows(found, study.privacy.min_cell) for found in (decision.training, tested)]
    found: dict[str, dict[str, float]] = {model: {} for model in MODELS}
    for row in (row for each in rows for row in each["performance"]):
        own = found[row["model"]]
        own[row["set"]] = row["auc"]
        own[f"{row['set']} holds"] = float(row["ci_low"] <= 0.5 <= row["ci_high"])
        if row["set"] == "train":
            negatives = row["n"] - row["positives"]
            own["youden"] = row["tp"] / row["positives"] + row["tn"] / negatives - 1.0
    for row in (row for row in rows[0]["roc"] if row["set"] == "train"):
        fpr, tpr = np.array(row["fpr"]), np.array(row["tpr"])
        found[row["model"]]["usual"] = float(np.trapezoid(tpr, fpr))
        found[row["model"]]["largest"] = float((tpr - fpr).max())
    return found


def clinical_alone(seed: int, work: Path) -> float:
    """Return the training AUC of the clinical model in a study that has no other."""
    cohort, study = generate(PLAN, seed), study_of(seed)
    alone = study.model_copy(update={"base_models": ("clinical",), "fusion_models": ()})
    sites = synthetic_sites(replace(cohort, label=_dealt(cohort, seed)), alone, work)
    one = Comparison.over(sites, alone, f"study {seed}")
    decision = one.decide({"clinical": one.fit("clinical")[0]})
    (row,) = evaluation_rows(decision.training, study.privacy.min_cell)["performance"]
    return float(row["auc"])


def section_alone(areas: Sequence[float]) -> str:
    """Return what further studies of the clinical model add."""
    values = np.array(areas)
    error = values.std(ddof=1) / np.sqrt(values.size)
    return (
        f"`python -m bench.no_signal --alone {values.size}`: the training AUC of the clinical model"
        f" in {values.size} further studies was {values.mean():.3f} on average (SE {error:.3f})."
    )


def _dealt(cohort: SyntheticCohort, seed: int) -> Int:
    """Return outcomes (n,), of four in ten patients of each hospital and set, whoever they are."""
    random, label = np.random.default_rng(seed), np.zeros_like(cohort.label)
    for site in np.unique(cohort.site):
        for split in np.unique(cohort.split):
            own = random.permutation(
                np.flatnonzero((cohort.site == site) & (cohort.split == split))
            )
            label[own[: round(POSITIVE * own.size)]] = 1
    return label


def lines(studies: Sequence[dict[str, dict[str, float]]]) -> Iterator[list[str]]:
    """Yield a row a measure and model: mean, standard error, distance from no skill in these."""
    for measure, title in MEASURES.items():
        for model, label in MODELS.items():
            values = np.array([study[model][measure] for study in studies])
            error = values.std(ddof=1) / np.sqrt(values.size)
            away = (values.mean() - NO_SKILL.get(measure, 0.5)) / error
            holds = [study[model].get(f"{measure} holds") for study in studies]
            held = "" if None in holds else f"{sum(filter(None, holds)):.0f} of {values.size}"
            yield [title, label, f"{values.mean():.3f}", f"{error:.3f}", f"{away:+.1f}", held]


def section(studies: Sequence[dict[str, dict[str, float]]]) -> str:
    """Return the section of results.md."""
    columns = ("measure", "model", "mean", "SE", "from no skill, in SE", "95 % intervals with 0.5")
    return "\n\n".join(
        [
            "## Without a signal",
            f"`python -m bench.no_signal`: {len(studies)} studies of {sum(PLAN.train)} training"
            f" patients at four hospitals, whose outcomes were shuffled. {conditions()}",
            table(columns, list(lines(studies))),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the studies, print the table, and put it into results.md."""
    parser = argparse.ArgumentParser(description="Studies without any signal.")
    parser.add_argument("--studies", type=int, default=STUDIES)
    parser.add_argument("--alone", type=int, help="further studies, of the clinical model alone")
    parser.add_argument("--keep", type=Path, help="also write the measures of every study here")
    options = parser.parse_args(arguments)
    if options.alone:
        areas = []
        with task_identity(SERVER_NODE):
            for seed in range(STUDIES, STUDIES + options.alone):
                with tempfile.TemporaryDirectory() as work:
                    areas.append(clinical_alone(seed, Path(work)))
        print(section_alone(areas))
        put_section("no signal, clinical model", section_alone(areas))
        return
    studies: list[dict[str, dict[str, float]]] = []
    with task_identity(SERVER_NODE):
        for seed in range(options.studies):
            with tempfile.TemporaryDirectory() as work:
                studies.append(one_study(seed, Path(work)))
            print(f"study {seed + 1} of {options.studies}", file=sys.stderr)
    if options.keep is not None:
        options.keep.write_text(json.dumps(studies), encoding="utf-8")
    text = section(studies)
    print(text)
    if options.studies == STUDIES:
        put_section("no signal", text)


if __name__ == "__main__":
    main()
