"""Prepare a study for the hospitals to approve: every setting spelled out, with all keys."""

from __future__ import annotations

from pathlib import Path

from common.disclosure.differencing import check_test_sets_apart
from common.errors import InputError
from common.masking import identity
from common.study.model import Study, load_study, write_study
from common.study.sums import check_maskable
from server.deployment.folder import CoordinatorFolder
from server.deployment.roster import read_roster


def prepare(folder: CoordinatorFolder, study_file: Path) -> Path:
    """Write the study for the hospitals, and return its file.

    Raises
    ------
    InputError : the study cannot run, or a site of it has not joined.
    """
    study = load_study(study_file)
    check_maskable(study, where=str(study_file))
    check_test_sets_apart(study, where=str(study_file))
    private = identity.load(folder.identity).private
    keys = read_roster(folder.roster, private.public_key()).identity_keys
    coordinator = identity.public_text(private.public_key())
    complete = _with_keys(study, keys, coordinator, where=str(study_file))
    return write_study(complete, folder.prepared_study(study.name))


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
