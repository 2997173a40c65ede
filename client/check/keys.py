"""Keys and certificates at this site: there, private, and of the right kind."""

from __future__ import annotations

import stat
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from client.check.coordinator import NO_DEPLOYMENT
from client.check.finding import (
    Finding,
    Findings,
    not_applicable,
    not_checked,
    or_ok,
    problem,
    problem_of,
    warning,
)
from client.site import Deployment, SiteSettings
from client.store.site_db import site_db
from common.errors import InputError
from common.masking import identity
from common.study.model import Study

IDENTITY, NODE, OTHERS = "keys.identity", "keys.node", "keys.others"
_CURVE = "secp384r1"


def look_at_keys(study: Study, settings: SiteSettings) -> Findings:
    """All of them; a key that others can read is no longer this site's alone."""
    yield from _identity(study, settings)
    yield from _node(settings.deployment)
    yield from _others(settings)


def _identity(study: Study, settings: SiteSettings) -> Findings:
    path = settings.identity
    if not path.is_file() and settings.deployment is None:
        yield from not_checked((IDENTITY,), "no identity key here yet", "run fedlnm-site init")
        return
    try:
        private = identity.load(path).private
    except InputError as error:
        yield problem_of(IDENTITY, error)
        return
    public = identity.public_text(private.public_key())
    named = study.roster.get(settings.name, "")
    found = list(_exposed(IDENTITY, path))
    if named and named != public:
        found.append(
            problem(
                IDENTITY,
                path.name,
                "the study names another key for this site",
                f"give the coordinator this public key: {public}",
            )
        )
    elif not named:
        found.append(
            warning(
                IDENTITY,
                path.name,
                "the study names no key for this site, so nothing can be masked",
                f"give the coordinator this public key: {public}",
            )
        )
    fingerprint = identity.fingerprint(private.public_key())
    yield from or_ok(found, {IDENTITY: f"private, and named by the study: {fingerprint}"})


def _node(deployment: Deployment | None) -> Findings:
    if deployment is None or deployment.node_key is None:
        why = "insecure = true: no key is used" if deployment else NO_DEPLOYMENT
        yield from not_applicable((NODE,), why)
        return
    path = deployment.node_key
    remedy = "make it with fedlnm-site init, and have the coordinator register it"
    try:
        key = load_ssh_private_key(path.read_bytes(), password=None)
    except OSError as error:
        yield problem(NODE, path.name, f"cannot be read ({error.strerror})", remedy)
        return
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    found = list(_exposed(NODE, path))
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != _CURVE:
        what = "not an unencrypted EC P-384 key in OpenSSH format"
        found.append(problem(NODE, path.name, what, remedy))
    yield from or_ok(found, {NODE: "private, EC P-384"})


def _others(settings: SiteSettings) -> Findings:
    """Keys in the site's memory, and the certificate that the coordinator is checked with."""
    found: list[Finding] = list(_exposed(OTHERS, site_db(settings.work).path))
    deployment = settings.deployment
    if deployment is not None and deployment.root_certificates is not None:
        found.extend(_authority(deployment.root_certificates))
    yield from or_ok(found, {OTHERS: "nothing that others can read"})


def _authority(path: Path) -> Findings:
    remedy = "ask the coordinator for the file, and compare its fingerprint by phone"
    try:
        x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        yield problem(OTHERS, path.name, f"cannot be read ({error.strerror})", remedy)
    except ValueError:
        yield problem(OTHERS, path.name, "not a file of certificates in PEM", remedy)


def _exposed(kind: str, path: Path) -> Findings:
    if not path.is_file():
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        what = f"other users of this machine can get at the key (mode {mode:04o})"
        yield problem(kind, path.name, what, f"chmod 600 {path}")
