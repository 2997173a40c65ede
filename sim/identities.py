"""Keys and secrets of simulated hospitals, derived from their names, so that a run is repeatable.

Anyone who knows a name knows them. They exercise the same signatures, masks and draws as a
deployment, and protect nothing: on one machine there is nobody to protect from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.store.draw_secret import place_draw_secret
from common.masking import identity
from common.study.model import SiteEntry, Study

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
