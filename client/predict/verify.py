"""Open a bundle only when it is the coordinator's, whole, and fits this installation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from client.site import load_site
from common.bundle.bundle import (
    SIGNATURE_FILE,
    Bundle,
    Files,
    blamed_on_bundle,
    check_files,
    digest_of,
    read_files,
    signer_of,
)
from common.errors import InputError, SignatureError, UsageError
from common.masking import identity
from common.messages.joining import Invitation
from common.models import network_input
from common.study.model import Study
from common.study.strategy import StrategySpec
from common.transforms import Stack
from common.transforms.views import ByFold, Joined, View

UNVERIFIED = (
    "NOT VERIFIED: nobody checked who made this bundle or whether it was changed (--unverified)."
)
# what computes the probabilities beside scikit-learn, which has to be the same
_COMPUTING = ("fedlnm", "torch", "monai", "numpy", "scipy")


@dataclass(frozen=True)
class Opened:
    """A bundle that may be used.

    Parameters
    ----------
    study : the study that made it, from the bundle itself.
    digest : SHA-256 (hex) of its files.
    signed_by : fingerprint of the key that it was checked with, empty where it was not.
    warnings : sentences that must be read with every prediction.
    """

    bundle: Bundle
    study: Study
    digest: str
    signed_by: str
    warnings: tuple[str, ...]


def coordinator_key(given: str | None, site: Path | None, *, unverified: bool) -> str | None:
    """Return the coordinator's key (base64); None to use the bundle unverified.

    Parameters
    ----------
    given : the key itself, or the path of an invitation.
    site : site.toml or its folder, whose `coordinator_key` is taken.

    Raises
    ------
    UsageError : none of the three, or several.
    InputError, SignatureError : the file holds no key, or an invitation was changed.
    """
    ways = [way for way in (given, site, unverified or None) if way is not None]
    if len(ways) != 1:
        raise UsageError(
            "no key to check the bundle with" if not ways else "several ways to check the bundle",
            where="predict",
            remedy="give one of --coordinator-key KEY-OR-invitation.json, --site site.toml (its"
            " coordinator_key), and, at your own risk, --unverified",
        )
    if given is not None:
        path = Path(given)
        if given.endswith(".json") or path.is_file():
            letter = Invitation.read(path)
            letter.check()
            return letter.coordinator_key
        return given.strip()
    if site is not None:
        file = site / "site.toml" if site.is_dir() else site
        deployment = load_site(file).deployment
        if deployment is None or not deployment.coordinator_key:
            raise InputError(
                "no coordinator_key",
                where=f"{file.name} [deployment]",
                remedy="give --coordinator-key with the key or the coordinator's invitation",
            )
        return deployment.coordinator_key
    return None


def open_bundle(folder: Path, key: str | None) -> Opened:
    """Read a bundle, its signature first.

    Parameters
    ----------
    key : the coordinator's (base64), None = use it unverified.

    Raises
    ------
    InputError : no bundle, one of another format or release, or one that needs other software.
    SignatureError : not signed, signed with another key, or changed since.
    """
    if not (folder / "bundle.json").is_file():
        raise InputError(
            "no bundle here: bundle.json is missing",
            where=str(folder),
            remedy="give the folder `bundle` of the coordinator's run",
        )
    files = read_files(folder)
    signed_by = _check_signature(files, key) if key is not None else ""
    with blamed_on_bundle(checked=bool(signed_by)):
        bundle = Bundle.from_files(files)
        study = bundle.recorded_study()
        warnings: tuple[str, ...] = () if signed_by else (UNVERIFIED,)
        warnings += _software_warnings(bundle)
        for stack in stacks_of(bundle):
            try:
                stack.load()
            except (ValueError, TypeError, KeyError) as error:
                raise InputError(f"a stacker cannot be read: {error}", where="bundle") from None
        warnings += _own_layer_warnings(study)
    return Opened(bundle, study, digest_of(files), signed_by, warnings)


@contextmanager
def blamed_unless_checked(key: str | None) -> Iterator[None]:
    """Attribute failures of whatever is done with an unchecked bundle to it.

    Parameters
    ----------
    key : that it was checked with; with one, exceptions pass as they are.

    Raises
    ------
    InputError : in place of an exception that is not this system's own.
    """
    if key is not None:
        yield
        return
    with blamed_on_bundle(checked=False):
        yield


def _check_signature(files: Files, key: str) -> str:
    """Return the fingerprint of the key that signed the files."""
    public = identity.public_key(key)
    own = identity.fingerprint(public)
    signer = signer_of(files)
    if SIGNATURE_FILE in files and signer and signer != key:
        other = identity.fingerprint(identity.public_key(signer))
        raise SignatureError(
            f"the bundle was signed with another key ({other}) than the coordinator's ({own})",
            where=SIGNATURE_FILE,
            remedy="take the bundle from the coordinator, and compare fingerprints by phone",
        )
    try:
        check_files(files, key)
    except SignatureError as error:
        if error.where == SIGNATURE_FILE:
            raise
        raise SignatureError(
            "the bundle is not as it was signed: a file was changed, added or taken away",
            where=f"key {own}",
            remedy="take the bundle from the coordinator's run again, whole, alone in its folder",
        ) from None
    return own


def _software_warnings(bundle: Bundle) -> tuple[str, ...]:
    """Warn of versions that differ; refuse a stacker that could be read wrongly."""
    made, here = bundle.software, installed(("scikit-learn", *_COMPUTING))
    needs = any(True for _ in stacks_of(bundle))
    wanted = made.get("scikit-learn", "")
    if needs and wanted and wanted != here["scikit-learn"]:
        raise InputError(
            f"the decision fusion was made with scikit-learn {wanted}, here is"
            f" {here['scikit-learn']}, which may read it wrongly",
            where="bundle",
            remedy=f"install scikit-learn=={wanted}",
        )
    other = [
        f"{name} {made[name]} (here {here[name]})"
        for name in _COMPUTING
        if name in made and made[name] != here[name]
    ]
    if not other:
        return ()
    return (f"Made with {', '.join(other)}: probabilities may differ in the last digits.",)


def _own_layer_warnings(study: Study) -> tuple[str, ...]:
    own: dict[type[StrategySpec], list[str]] = {}
    for name in study.networks:
        own.setdefault(study.network(name).spec, []).append(f"{network_input(name).dimensions}D")
    return tuple(
        f"In this study every hospital kept its own {spec.own_layers} of the {' and '.join(found)}"
        f" network ({spec.title}). The bundle holds the mean of all, which hospitals that did not"
        " train use; a training hospital was evaluated with its own, so its numbers there differ."
        for spec, found in own.items()
        if spec.own_layers
    )


def installed(packages: tuple[str, ...]) -> dict[str, str]:
    """Return versions by package; "not installed" for what is missing."""
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def stacks_of(bundle: Bundle) -> list[Stack]:
    """Return every scikit-learn estimator that the models hold."""
    return [step for view in bundle.models.values() for step in _steps(view) if type(step) is Stack]


def _steps(view: View) -> list[Any]:
    source = view.source
    parts = source.parts if isinstance(source, Joined | ByFold) else ()
    return [*(step for part in parts for step in _steps(part)), *view.transforms]
