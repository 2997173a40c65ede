"""Clinical columns that folds keep: `python -m bench.folds`.

Patients on the marginals of the paper's Table 1, and those of the default phantom, are dealt to
folds at several hospitals, and the rule for rare columns is applied to the counts of all of them by
fold. Labels follow stage and cartilage invasion, so that rare levels and outcome run together.
Dealing by the counts of all hospitals is compared with dealing by a hospital's own, and by outcome
alone.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bench.tables import put_section, table
from client.data.folds import Reserve, deal, quotas
from common.statistics.base import Float, Int, Rows
from common.statistics.fold_histogram import FoldHistogram
from common.statistics.rank_gram import first_edges
from common.study.model import Study, parse_study
from server.phases.near_zero_variance import CELLS, frequent_clinical
from sim.phantom.clinical import COUNTS, LEVELS, clinical_row, latent_of
from sim.phantom.generate import study_text
from sim.phantom.plan import DEFAULT

PAPER = {name: len(levels) for name, levels in LEVELS.items()}
# the phantom's stage and grade are numbers, of which no level is rare
PHANTOM = {name: n for name, n in PAPER.items() if n == 2}
FOLDS, FEWEST, SEEDS = 5, 5, 20
RULES = Reserve(of_class=3, of_both=5)
FEW = Reserve(of_class=1, of_both=3)
Mask = NDArray[np.bool_]
"""Thresholds of the phantom, whose smallest hospital has 20 training patients."""


@dataclass(frozen=True)
class Patients:
    """Codes of each column, NaN = missing; outcome and hospital of each patient (n,)."""

    codes: Mapping[str, Float]
    labels: Int
    hospital: Int


def paper(sizes: Sequence[int], seed: int) -> Patients:
    """Return the 300 training patients of Table 1 at hospitals of these sizes."""
    random = np.random.default_rng(seed)
    codes = {
        name: random.permutation(np.repeat(np.arange(len(own)), own)).astype(np.float64)
        for name, own in COUNTS["training"].items()
    }
    risk = random.normal(size=300) + codes["t_stage"] + 2 * codes["cartilage_invasion"]
    labels = (risk > np.sort(risk)[-124]).astype(np.int64)
    # every hospital has its share of both outcomes
    rank = np.where(labels == 1, np.cumsum(labels) / 124, np.cumsum(1 - labels) / 176)
    order = np.argsort(rank, kind="stable")
    moved = {name: own[order] for name, own in codes.items()}
    return Patients(moved, labels[order], np.repeat(np.arange(len(sizes)), sizes))


def phantom(seed: int) -> Patients:
    """Return the training patients of the default phantom, whose necrosis is drawn anew."""
    random, rows, labels, hospital = np.random.default_rng(seed), [], [], []
    for place, plan in enumerate(one for one in DEFAULT.hospitals if one.train):
        for index in range(plan.train):
            seen = float(random.normal())
            rows.append(clinical_row(seed, DEFAULT, plan, index, diameter_cm=2.0, necrosis=seen))
            labels.append(latent_of(seed, DEFAULT, plan, index).label)
            hospital.append(place)
    codes = {
        name: np.array([LEVELS[name].index(row[name]) if row[name] else np.nan for row in rows])
        for name in PHANTOM
    }
    return Patients(codes, np.array(labels), np.array(hospital))


def by_all(
    own: Mask, everyone: Mask, hospitals: int, labels: Int, seed: int, least: Reserve
) -> Int:
    """Deal by the counts of all hospitals, as a study does."""
    counts = own.sum(axis=0).astype(np.float64), everyone.sum(axis=0).astype(np.float64)
    wanted = quotas(*counts, hospitals, FOLDS, FEWEST, seed)
    return deal(labels, own, FOLDS, wanted, least)


def by_own(
    own: Mask, everyone: Mask, hospitals: int, labels: Int, seed: int, least: Reserve
) -> Int:
    """Deal by a hospital's own counts, with its share of the threshold."""
    counts = own.sum(axis=0).astype(np.float64)
    wanted = quotas(counts, counts, 1, FOLDS, -(-FEWEST // hospitals), seed)
    return deal(labels, own, FOLDS, wanted, least)


def by_outcome(
    own: Mask, everyone: Mask, hospitals: int, labels: Int, seed: int, least: Reserve
) -> Int:
    """Deal by outcome alone."""
    return np.arange(labels.size) % FOLDS


DEALINGS = {"outcome alone": by_outcome, "own counts": by_own, "counts of all": by_all}


def dealt(patients: Patients, how: Callable[..., Int], seed: int, least: Reserve) -> Int:
    """Return the fold of every patient (n,)."""
    codes = patients.codes.items()
    has = np.hstack([own[:, np.newaxis] == np.arange(PAPER[name]) for name, own in codes])
    random, fold = np.random.default_rng(seed + 1), np.empty(patients.labels.size, dtype=np.int64)
    hospitals = int(patients.hospital.max()) + 1
    for place in range(hospitals):
        at = random.permutation(np.flatnonzero(patients.hospital == place))
        at = at[np.argsort(patients.labels[at], kind="stable")]
        fold[at] = how(has[at], has, hospitals, patients.labels[at], seed, least)
    return fold


def lost(study: Study, patients: Patients, fold: Int) -> set[str]:
    """Return the columns of which the rule keeps nothing."""
    blocks, names = [], []
    for name, codes in patients.codes.items():
        filled = np.where(
            np.isnan(codes), np.bincount(codes[~np.isnan(codes)].astype(int)).argmax(), codes
        )
        for level in range(1, PAPER[name]):
            blocks.append((filled == level).astype(np.float64))
            names.append(f"{name}={LEVELS[name][level]}")
    values = np.column_stack(blocks)
    spread = np.maximum(values.std(axis=0), 1e-9)
    rows = Rows(
        (values - values.mean(axis=0)) / spread,
        tuple(names),
        patients.labels.astype(np.float64),
        fold,
    )
    histogram = FoldHistogram(folds=FOLDS, edges=first_edges(len(names), CELLS))
    stays = frequent_clinical(study, tuple(names), histogram.finalise(histogram.from_rows(rows)))
    kept = {name.partition("=")[0] for name, good in zip(names, stays, strict=True) if good}
    return set(patients.codes) - kept


CASES: tuple[tuple[str, Callable[[int], Patients], Reserve], ...] = (
    ("paper, 300", partial(paper, (300,)), RULES),
    ("paper, 100/100/100", partial(paper, (100, 100, 100)), RULES),
    ("paper, 75/75/75/75", partial(paper, (75, 75, 75, 75)), RULES),
    ("paper, 140/75/45/40", partial(paper, (140, 75, 45, 40)), RULES),
    ("paper, 150/80/50/20, thresholds of the phantom", partial(paper, (150, 80, 50, 20)), FEW),
    ("phantom, 40/32/28/20", phantom, FEW),
)


def lines(seeds: int) -> Iterator[list[str]]:
    """Yield a row a cohort and dealing."""
    study = parse_study(_study(), where="bench/folds")
    for title, drawn, least in CASES:
        for name, how in DEALINGS.items():
            found: Counter[str] = Counter()
            missing, whole, apart = Counter[str](), 0, []
            for seed in range(seeds):
                patients = drawn(seed)
                fold = dealt(patients, how, seed, least)
                never = lost(study, patients, np.zeros_like(fold))
                gone = lost(study, patients, fold) - never
                missing.update(never)
                found.update(gone)
                whole += not gone
                share = np.bincount(fold, patients.labels, FOLDS) / np.bincount(fold, None, FOLDS)
                apart.append(float(share.max() - share.min()))
            words = ", ".join(f"{column} {n}" for column, n in sorted(found.items()))
            short = ", ".join(f"{column} {n}" for column, n in sorted(missing.items()))
            kept, range_ = f"{whole} of {seeds}", f"{np.mean(apart):.3f}"
            yield [title, name, kept, words or "none", short or "none", range_]


def _study() -> str:
    """Return a study with the levels of all columns unordered."""
    text = study_text(DEFAULT, 1)
    return text.replace('kind = "ordinal"', 'kind = "categorical"')


def section(seeds: int) -> str:
    """Return the section of results.md."""
    columns = (
        "training patients",
        "dealt by",
        "seeds in which nothing is lost",
        "lost, in so many seeds",
        f"fewer than {FEWEST} patients in all",
        "positives of a fold, largest share less smallest",
    )
    return "\n\n".join(
        [
            "## Folds by rare levels",
            f"`python -m bench.folds`: clinical columns of which the rule `support` keeps a level,"
            f" over {seeds} seeds. Outcomes follow T stage and cartilage invasion.",
            table(columns, list(lines(seeds))),
        ]
    )


def main() -> None:
    """Deal, judge, and write the section."""
    parser = argparse.ArgumentParser(description="Clinical columns that folds keep.")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    put_section("folds by rare levels", section(parser.parse_args().seeds))


if __name__ == "__main__":
    main()
