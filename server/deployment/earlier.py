"""Foretell which sums of a study hospitals will refuse because of the runs that went before."""

from __future__ import annotations

from collections.abc import Iterator

from common.disclosure.differencing import told_by_difference, under_key
from common.disclosure.rule import RULES
from common.errors import SignatureError, StudyError
from common.masking.absence import AbsentSite
from common.masking.agreement import roster_digest
from common.masking.lost_keys import LetGoSite
from common.study.model import Study
from common.study.sums import masked_over, split_of
from server.deployment.folder import CoordinatorFolder
from server.deployment.run_folder import RunFolder

_GAVE = "query.sum"


def foretell_participants(folder: CoordinatorFolder, study: Study) -> Iterator[str]:
    """Yield a warning for each subset whose sums the runs on disk let hospitals refuse.

    Patients are taken for the same as in those runs: what a hospital has changed, only its own
    check can tell.
    """
    earlier = list(_given(folder))
    for subset in ("train", *(test.name for test in study.test_sets)):
        if not study.masked(subset):
            continue
        split, now = split_of(study, subset), frozenset(study.members(subset))
        own = [frozenset(sites) for sites in masked_over(study, split).values()]
        for run, before in earlier:
            keys = before.roster, study.roster
            sums = {
                name: frozenset(
                    under_key(site, *(key.get(site) for key in keys))
                    for site in frozenset(sites) - _gone(study, before) | (frozenset(sites) & now)
                )
                for name, sites in masked_over(before, split).items()
            }
            if told_by_difference(now, sums.values(), own):
                yield _words(subset, now, run, frozenset().union(*sums.values()))
                break


def _given(folder: CoordinatorFolder) -> Iterator[tuple[str, Study]]:
    """Yield name and study of every run in which hospitals gave sums."""
    for path in sorted(folder.runs.glob("*/input/study.toml")):
        run = RunFolder(path.parent.parent)
        if any(e["kind"] == "contact" and e["exchange"] == _GAVE for e in run.events()):
            try:
                yield run.name, run.study
            except StudyError:  # of another release: hospitals judge by their own memory
                continue


def _gone(study: Study, before: Study) -> frozenset[str]:
    """Return the sites of an earlier study that signed that the others may go on without them."""
    roster, digest = roster_digest(before.roster), before.digest()
    found = set()
    for one in study.left:
        if isinstance(one, AbsentSite) and one.study != digest:
            continue
        if isinstance(one, LetGoSite) and not one.enough(before.roster, study.coordinator_key):
            continue
        if one.roster == roster and before.roster.get(one.site) == one.public_key:
            try:
                one.verify()
            except SignatureError:
                continue
            found.add(one.site)
    return frozenset(found)


def _words(subset: str, now: frozenset[str], run: str, before: frozenset[str]) -> str:
    left, come = ", ".join(sorted(before - now)), ", ".join(sorted(now - before))
    parts = [f"without {left}"] if left else []
    parts += [f"with {come} besides"] if come else []
    how = " and ".join(parts) or "in other test sets"
    whose = "training patients" if subset == "train" else f"patients of {subset}"
    return (
        f"sums over {whose} would be refused: run {run} gave them already, and now they are asked"
        f" {how} (rule participants), unless the patients have changed"
        f" -> {RULES['participants'].remedy}"
    )
