"""Prepare a study for the hospitals to approve: every setting spelled out, with all keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.disclosure.differencing import check_test_sets_apart
from common.errors import InputError
from common.masking import identity
from common.study.changes import changes
from common.study.model import Departure, Study, load_study, write_study
from common.study.release_mark import mark
from common.study.sums import check_maskable
from server.deployment.earlier import foretell_participants
from server.deployment.folder import CoordinatorFolder
from server.deployment.going_on import check_absences, without
from server.deployment.roster import read_roster


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
    check_maskable(study, where=str(study_file))
    check_test_sets_apart(study, where=str(study_file))
    private = identity.load(folder.identity).private
    keys = read_roster(folder.roster, private.public_key()).identity_keys
    coordinator = identity.public_text(private.public_key())
    complete = _with_keys(study, keys, coordinator, where=str(study_file))
    path = folder.prepared_study(study.name)
    again, changed = _since(path, complete)
    foretold = tuple(foretell_participants(folder, complete))
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
            remedy=f"fedlnm-server prepare {folder.root} STUDY.toml; have: "
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
