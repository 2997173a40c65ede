"""`fedlnm-server prepare`: a study as the hospitals approve it, with their keys, and the app."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from common.disclosure.differencing import check_test_sets_apart
from common.errors import InputError
from common.masking import identity
from common.study.model import Study, load_study, write_study
from common.study.sums import check_maskable
from common.utils.app_file import build_app
from common.utils.durable import write_durably
from server.deployment.folder import CoordinatorFolder
from server.deployment.roster import read_roster


@dataclass(frozen=True)
class Prepared:
    """A folder with the two files that every hospital gets and approves."""

    folder: Path

    @property
    def study_file(self) -> Path:
        """The study, every setting spelled out, with everybody's public keys."""
        return self.folder / "study.toml"

    @property
    def app_file(self) -> Path:
        """The app, a FAB."""
        return self.folder / "fedlnm.fab"

    def copy_to(self, folder: Path) -> Prepared:
        """The same two files elsewhere."""
        folder.mkdir(parents=True, exist_ok=True)
        copy = Prepared(folder)
        shutil.copyfile(self.study_file, copy.study_file)
        shutil.copyfile(self.app_file, copy.app_file)
        return copy


def prepare(folder: CoordinatorFolder, study_file: Path) -> Prepared:
    """Write study and app for the hospitals.

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
    prepared = Prepared(folder.for_sites / study.name)
    write_study(complete, prepared.study_file)
    write_durably(prepared.app_file, build_app())
    prepared.app_file.chmod(0o644)
    return prepared


def find_prepared(folder: CoordinatorFolder, name: str) -> Prepared:
    """What was prepared under a study's name.

    Raises
    ------
    InputError : nothing, or for sites whose keys have changed since.
    """
    found = Prepared(folder.for_sites / name)
    if not (found.study_file.is_file() and found.app_file.is_file()):
        known = sorted(path.parent.name for path in folder.for_sites.glob("*/study.toml"))
        raise InputError(
            f"no study called {name} has been prepared",
            where=str(folder.for_sites),
            remedy=f"fedlnm-server prepare {folder.root} STUDY.toml; have: "
            f"{', '.join(known) or 'none'}",
        )
    study = load_study(found.study_file)
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
