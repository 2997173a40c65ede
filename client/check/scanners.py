"""Check the scanners of a study that harmonises features over them."""

from __future__ import annotations

from collections import Counter

from client.check.finding import Findings, ok, warning
from client.check.registry import check
from client.data.cohort import SCANNER, Cohort, names_scanners
from common.study.model import Study

KIND = "cohort.scanners"


@check("patients", cohort_scanners="every scanner has enough training patients for a batch")
def check_scanners(cohort: Cohort, study: Study) -> Findings:
    """Warn of scanners without a batch of their own."""
    if not names_scanners(study):
        yield ok(KIND, "the study asks for no scanners")
        return
    fewest = study.harmonisation.min_batch
    train = Counter(p.scanner for p in cohort.subset(study, "train"))
    tested = {p.scanner for p in cohort.patients} - train.keys()
    place, found = f"column {SCANNER}", False
    if {p.scanner for p in cohort.patients} == {""}:
        found = True
        what = "names no scanner: all patients of this site count as one batch"
        yield warning(KIND, place, what, "name each patient's scanner, or leave it so on purpose")
    few = [name for name, count in train.items() if count < fewest]
    if few and len(train) > 1:
        found = True
        what = f"{len(few)} scanner(s) with fewer than {fewest} training patients"
        yield warning(KIND, place, what, "none needed: they are joined with others of this site")
    if tested and train:
        found = True
        what = f"{len(tested)} scanner(s) of test patients without any training patient"
        rule = {"reference": "used as they are", "own": "harmonised by their own estimates"}
        remedy = f"none needed: features there are {rule[study.harmonisation.unseen]}"
        yield warning(KIND, place, what, remedy)
    if not found:
        yield ok(KIND, f"{len(train)} scanner(s), each with {fewest} training patients or more")
