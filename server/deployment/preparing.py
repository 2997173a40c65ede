"""Prepare a study for the hospitals to approve: every setting spelled out, with all keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.disclosure.differencing import check_test_sets_apart, told_by_difference, under_key
from common.disclosure.rule import RULES
from common.errors import InputError, SignatureError, StudyError
from common.masking import identity
from common.masking.absence import AbsentSite
from common.masking.agreement import roster_digest
from common.masking.lost_keys import LetGoSite
from common.study.changes import changes
from common.study.model import Departure, Study, load_study, write_study
from common.study.release_mark import mark
from common.study.sums import check_maskable, masked_over, split_of
from common.utils.text_file import as_word
from server.deployment.folder import CoordinatorFolder
from server.deployment.going_on import check_absences, check_confirmed, without
from server.deployment.roster import read_roster
from server.deployment.run_folder import RunFolder


@dataclass(frozen=True)
class Prepared:
    """File that hospitals approve.

    Parameters
    ----------
    changed : lines about what it has otherwise than the file of this name that it replaces.
    again : whether it replaces another study, so that every approval is void.
    foretold : warnings about sums that hospitals will refuse.
    """

    file: Path
    study: Study
    again: bool = False
    changed: tuple[str, ...] = ()
    foretold: tuple[str, ...] = ()


def prepare(
    folder: CoordinatorFolder, study_file: Path, left: Sequence[Departure] = ()
) -> Prepared:
    """Write the study for the hospitals.

    Parameters
    ----------
    left : statements of hospitals to go on without.

    Raises
    ------
    InputError : the study cannot run, a site of it has not joined, or one is left out too early.
    """
    study = without(load_study(study_file), left, where=str(study_file))
    check_absences(folder, study)
    check_confirmed(study)
    check_maskable(study, where=str(study_file))
    check_test_sets_apart(study, where=str(study_file))
    private = identity.load(folder.identity).private
    keys = read_roster(folder.roster, private.public_key()).identity_keys
    coordinator = identity.public_text(private.public_key())
    complete = _with_keys(study, keys, coordinator, where=str(study_file))
    path = folder.prepared_study(study.name)
    again, changed = _since(path, complete)
    foretold = (*foretell_return(folder, complete), *foretell_participants(folder, complete))
    return Prepared(mark(write_study(complete, path)), complete, again, changed, foretold)


def _since(path: Path, study: Study) -> tuple[bool, tuple[str, ...]]:
    """Tell if a prepared study is replaced by another, and what has changed."""
    if not path.is_file():
        return False, ()
    try:
        before = load_study(path)
    except InputError:
        return True, ("all that this release writes otherwise: the file before cannot be read",)
    return before.digest() != study.digest(), tuple(changes(before, study))


def find_prepared(folder: CoordinatorFolder, name: str) -> Path:
    """Return the file of the study that was prepared under this name.

    Raises
    ------
    InputError : nothing, or for sites whose keys have changed since.
    """
    found = folder.prepared_study(name)
    if not found.is_file():
        known = sorted(path.parent.name for path in folder.for_sites.glob("*/study.toml"))
        raise InputError(
            f"no study called {name} has been prepared",
            where=str(folder.for_sites),
            remedy=f"fedlnm-server prepare {as_word(folder.root)} STUDY.toml; have: "
            f"{', '.join(known) or 'none'}",
        )
    study = load_study(found)
    private = identity.load(folder.identity).private
    keys = read_roster(folder.roster, private.public_key()).identity_keys
    changed = [site for site, key in study.roster.items() if keys.get(site) != key]
    if changed:
        raise InputError(
            f"the keys of {', '.join(changed)} are others than when it was prepared",
            where=f"study {name}",
            remedy="prepare it again, and let every site approve it again",
        )
    return found


def _with_keys(study: Study, keys: dict[str, str], coordinator: str, *, where: str) -> Study:
    missing = [name for name in study.site_names if name not in keys]
    if missing:
        raise InputError(
            f"not enrolled: {', '.join(missing)}",
            where=where,
            remedy="fedlnm-server enrol FOLDER REQUEST, with the file that each of them sends",
        )
    entries = []
    for entry in study.sites:
        if entry.public_key not in ("", keys[entry.name]):
            raise InputError(
                f"it names another key for site {entry.name} than the roster",
                where=where,
                remedy="leave public_key out of the study: prepare fills it in",
            )
        entries.append(entry.model_copy(update={"public_key": keys[entry.name]}))
    return study.model_copy(update={"sites": tuple(entries), "coordinator_key": coordinator})


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


def foretell_return(folder: CoordinatorFolder, study: Study) -> Iterator[str]:
    """Yield a warning for each hospital that has left for good, and is asked under its old key."""
    gone = {
        (one.site, one.public_key)
        for _, before in _given(folder)
        for one in before.left
        if not isinstance(one, AbsentSite)
    }
    for site in sorted(name for name, key in study.roster.items() if (name, key) in gone):
        yield (
            f"{site} has left for good, and this study asks it again -> give its file again"
            " (--without FILE) whenever you prepare the study"
        )


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
