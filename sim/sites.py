"""Hospitals of a simulation: their folders, a site.toml for each inside the run, and their keys.

Keys and secrets are derived from names, so that a run is repeatable, and anyone who knows a name
knows them. They exercise the same signatures, masks and draws as a deployment, and protect nothing:
on one machine there is nobody to protect from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import tomli_w
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.site import SiteSettings, load_site
from client.store.draw_secret import place_draw_secret
from common.errors import InputError
from common.masking import identity
from common.study.model import PrivacySettings, SiteEntry, Study

# no site can have this name
COORDINATOR = "(coordinator)"


def simulated_identity(site: str) -> Ed25519PrivateKey:
    """Return the key of a simulated hospital."""
    text = f"fedlnm simulated hospital\n{site}"
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(text.encode()).digest())


def with_identities(study: Study) -> Study:
    """Return the study with the public keys of the simulated hospitals and coordinator."""
    entries = []
    for site in study.sites:
        public = simulated_identity(site.name).public_key()
        key = identity.public_text(public)
        entries.append(SiteEntry(name=site.name, trains=site.trains, public_key=key))
    coordinator = identity.public_text(simulated_identity(COORDINATOR).public_key())
    return study.model_copy(update={"sites": tuple(entries), "coordinator_key": coordinator})


def place_identities(sites: Iterable[tuple[str, Path]]) -> None:
    """Write every hospital's key file, where it has none yet."""
    for name, path in sites:
        file = path.parent / "keys" / "identity.pem"
        if not file.exists():
            identity.save(simulated_identity(name), file)


def place_secret(site: str, work: Path) -> None:
    """Set the secret that a simulated hospital draws from; the study's seed makes draws differ."""
    place_draw_secret(work, hashlib.sha256(f"fedlnm simulated draws\n{site}".encode()).digest())


def place_coordinator(folder: Path) -> Path:
    """Write the coordinator's key file, where there is none yet; return its path."""
    file = folder / "coordinator.pem"
    if not file.exists():
        identity.save(simulated_identity(COORDINATOR), file)
    return file


SITE_FILE = "site.toml"


def data_folder(folder: Path) -> Path:
    """Return the folder of cohort.csv: the hospital's, unless its site.toml says otherwise."""
    own = folder / SITE_FILE
    return load_site(own).data if own.is_file() else folder


def find_sites(folders: Sequence[Path], study: Study) -> dict[str, Path]:
    """Return folders by site name, in roster order.

    A folder's name is the site's name unless its own site.toml gives another.

    Raises
    ------
    InputError : a folder without cohort.csv, two of one name, or a roster that does not match.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        data = data_folder(folder)
        if not (data / "cohort.csv").is_file():
            remedy = "give hospital folders"
            if data != folder:
                remedy = f"put it there, or correct data in {folder / SITE_FILE}"
            raise InputError("no cohort.csv in this folder", where=str(data), remedy=remedy)
        own = folder / SITE_FILE
        name = load_site(own).name if own.is_file() else folder.resolve().name
        if name in found:
            raise InputError(f"two folders are called {name}", where="--sites")
        found[name] = folder.resolve()
    missing = [name for name in study.site_names if name not in found]
    if missing:
        raise InputError(
            f"no folder for the site(s) {', '.join(missing)} of the study",
            where="--sites",
            remedy="give one folder a site, called like the site in study.toml",
        )
    unknown = [name for name in found if name not in study.site_names]
    if unknown:
        raise InputError(
            f"the study has no site called {', '.join(unknown)}",
            where="--sites",
            remedy="leave the folder out or add the site to study.toml",
        )
    return {name: found[name] for name in study.site_names}


def write_site(folder: Path, settings: SiteSettings) -> Path:
    """Write site.toml into `folder`; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    # settings that the hospital did not write follow the study, thresholds above all
    values = settings.model_dump(mode="json", exclude_none=True, exclude_unset=True)
    path = folder / SITE_FILE
    path.write_text(tomli_w.dumps(values), encoding="utf-8")
    return path


def place_sites(
    data: Mapping[str, Path],
    run: Path,
    cache: Path,
    *,
    exclude_bad_patients: bool,
    privacy: PrivacySettings | None = None,
    verifying: Collection[str] = (),
) -> dict[str, Path]:
    """Give every hospital a site.toml of its own inside the run; return paths by site name.

    A hospital's own settings (thresholds, device, threads) are kept; its work and cache go to the
    run, so that data folders stay untouched.

    Parameters
    ----------
    privacy : replaces the hospitals' thresholds, in a reference, which releases nothing.
    verifying : hospitals that derive every question; one of them notices as much as all would.
    """
    placed = {}
    for name, folder in data.items():
        work = (run / "sites" / name / "work").resolve()
        own = folder / SITE_FILE
        settings = load_site(own) if own.is_file() else SiteSettings(name=name)
        changes: dict[str, object] = {
            "data": settings.data if own.is_file() else folder,
            "work": work,
            "identity": Path("keys/identity.pem"),
            "cache": cache.resolve(),
            "approvals": "open",
            "verify": name in verifying,
        }
        if privacy is not None:
            changes["privacy"] = privacy
        if exclude_bad_patients:
            changes["exclude_bad_patients"] = True
        placed[name] = write_site(run / "sites" / name, settings.model_copy(update=changes))
        place_secret(name, work)
    place_identities(placed.items())
    return placed
