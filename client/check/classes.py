"""How many patients of which class the study would find here, by subset and fold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from client.check.finding import Finding, Findings, Severity, ok, or_ok, problem_of
from client.data.cohort import Cohort, shortfalls
from common.study.model import Study

Counts = tuple[int, int]


@dataclass(frozen=True)
class ClassCounts:
    """Patients and positives.

    Parameters
    ----------
    subsets : of "train" and the test sets, where there are any.
    folds : of the training folds; empty where the site does not train.
    """

    subsets: Mapping[str, Counts]
    folds: tuple[Counts, ...]


def count(cohort: Cohort, study: Study) -> ClassCounts:
    """Of a cohort whose folds are dealt."""
    subsets: dict[str, Counts] = {}
    for name in ("train", *(test.name for test in study.test_sets)):
        own = cohort.subset(study, name)
        if own:
            subsets[name] = (len(own), sum(patient.label for patient in own))
    training = cohort.subset(study, "train") if cohort.site in study.training_sites else []
    folds = [(0, 0)] * study.folds if training else []
    for patient in training:
        n, positives = folds[patient.fold]
        folds[patient.fold] = (n + 1, positives + patient.label)
    return ClassCounts(subsets, tuple(folds))


def look_at_counts(cohort: Cohort, study: Study, counts: ClassCounts) -> Findings:
    """Whether the site has what the study expects of it, and both classes in every fold.

    A fold of one class is a problem unless the study allows it (min_class_per_fold = 0).
    """
    short = [problem_of("counts.subset", error) for error in shortfalls(cohort, study)]
    told = ", ".join(f"{name} {n} ({k} positive)" for name, (n, k) in counts.subsets.items())
    yield from or_ok(short, {"counts.subset": told or "the study expects none"})
    if not counts.folds:
        yield ok("counts.fold", "this site does not train")
        return
    severity: Severity = "problem" if study.privacy.min_class_per_fold else "warning"
    one_class = [
        _one_class(severity, fold, n, positives)
        for fold, (n, positives) in enumerate(counts.folds)
        if positives in (0, n)
    ]
    smallest = min(min(k, n - k) for n, k in counts.folds)
    fine = f"{len(counts.folds)} folds, at least {smallest} of each class"
    yield from or_ok(one_class, {"counts.fold": fine})


def _one_class(severity: Severity, fold: int, n: int, positives: int) -> Finding:
    missing = "negative" if positives else "positive"
    return Finding(
        "counts.fold",
        severity,
        f"training fold {fold + 1}",
        f"none of its {n} patients is {missing}" if n else "no patients",
        "add training patients of the rarer class, or let this site test only (trains = false)",
    )
