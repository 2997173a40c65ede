"""Checks of a site's keys and certificates: present, private, and of the right kind."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from client.check.finding import (
    Finding,
    Findings,
    not_applicable,
    not_checked,
    ok,
    or_ok,
    problem,
    problem_of,
    warning,
)
from client.check.network import NO_DEPLOYMENT
from client.check.registry import check
from client.gate.approvals import Approval, read_approvals
from client.site import (
    CERTIFICATE_LOST,
    KEYS_LOST,
    Deployment,
    SiteSettings,
    identity_of,
)
from client.store.site_db import site_db
from common.errors import InputError, StudyError
from common.masking import identity
from common.study.model import Study

SITE, COORDINATOR = "study.site", "study.coordinator"
STUDY = "study.approval"
_LETTERS = 12


@check("site")
def check_roster(study: Study, site: str) -> Findings:
    """Check the site's role in the study."""
    if site not in study.site_names:
        yield problem(
            SITE,
            f"site {site}",
            f"the study has no site called {site}",
            f"use one of {', '.join(study.site_names)}, or ask the coordinator to add it",
        )
        return
    parts = ["trains"] if site in study.training_sites else []
    parts += [f"tests {test.name}" for test in study.test_sets if site in test.sites]
    yield ok(SITE, ", ".join(parts) or "neither trains nor tests", f"site {site}")


@check("site")
def check_coordinator_key(study: Study, deployment: Deployment | None) -> Findings:
    """Check that the study comes from the site's coordinator, as others are not approved."""
    own = deployment.coordinator_key if deployment else ""
    if deployment is None:
        yield from not_applicable((COORDINATOR,), NO_DEPLOYMENT)
    elif not own:
        yield from not_checked((COORDINATOR,), "site.toml names no coordinator_key")
    elif study.coordinator_key != own:
        yield problem(
            COORDINATOR,
            f"study {study.name}",
            "the study is of another coordinator than this site joined",
            "ask your coordinator for the study file, and take none from anybody else",
        )
    else:
        yield ok(COORDINATOR, "of the coordinator that this site joined", f"study {study.name}")


@check("site")
def check_approvals(study: Study, settings: SiteSettings) -> Findings:
    """Check approvals, which are signed with the site's key and invalid without it."""
    if settings.approvals == "open":
        yield from not_checked((STUDY,), 'approvals = "open": any study is answered')
        return
    try:
        public = identity.load(settings.identity).private.public_key()
    except InputError:
        yield from not_checked((STUDY,), "no identity key, so nothing can be approved")
        return
    try:
        found = read_approvals(settings.work, public)
    except StudyError as error:
        yield problem_of(STUDY, error)
        return
    yield from _study(study, found)


def _study(study: Study, approved: Sequence[Approval]) -> Findings:
    digest = study.digest()
    if any(one.digest == digest for one in approved):
        yield ok(STUDY, f"approved here (digest {digest[:_LETTERS]})", f"study {study.name}")
        return
    others = [one for one in approved if one.name == study.name]
    if others:
        yield warning(
            STUDY,
            f"study {study.name}",
            f"changed since it was approved here: another digest ({digest[:_LETTERS]}) than the one"
            f" that was approved ({others[-1].digest[:_LETTERS]})",
            "fedlnm-site approve --diff lists the changes; approve it again",
        )
        return
    remedy = "read what it would do, and allow it: fedlnm-site approve STUDY --site SITE"
    yield warning(STUDY, f"study {study.name}", "not approved here yet", remedy)


IDENTITY, NODE, OTHERS = "keys.identity", "keys.node", "keys.others"
_CURVE = "secp384r1"


@check("site")
def check_keys(study: Study, settings: SiteSettings) -> Findings:
    """Check all keys; a key that others can read is no longer private to this site."""
    yield from _identity(study, settings)
    yield from _node(settings.deployment)
    yield from _others(settings)


def _identity(study: Study, settings: SiteSettings) -> Findings:
    path = settings.identity
    if not path.is_file() and settings.deployment is None:
        yield from not_checked((IDENTITY,), "no identity key here yet", "run fedlnm-site init")
        return
    try:
        private = identity_of(settings)
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
    try:
        key = load_ssh_private_key(path.read_bytes(), password=None)
    except OSError as error:
        yield problem(NODE, path.name, f"cannot be read ({error.strerror})", KEYS_LOST)
        return
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    found = list(_exposed(NODE, path))
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != _CURVE:
        what = "not an unencrypted EC P-384 key in OpenSSH format"
        found.append(problem(NODE, path.name, what, KEYS_LOST))
    yield from or_ok(found, {NODE: "private, EC P-384"})


def _others(settings: SiteSettings) -> Findings:
    """Keys in the site's memory, and the certificate that the coordinator is checked with."""
    found: list[Finding] = list(_exposed(OTHERS, site_db(settings.work).path))
    deployment = settings.deployment
    if deployment is not None and deployment.root_certificates is not None:
        found.extend(_authority(deployment.root_certificates))
    yield from or_ok(found, {OTHERS: "nothing that others can read"})


def _authority(path: Path) -> Findings:
    try:
        x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        yield problem(OTHERS, path.name, f"cannot be read ({error.strerror})", CERTIFICATE_LOST)
    except ValueError:
        yield problem(OTHERS, path.name, "not a file of certificates in PEM", CERTIFICATE_LOST)


def _exposed(kind: str, path: Path) -> Findings:
    if not path.is_file():
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        what = f"other users of this machine can get at the key (mode {mode:04o})"
        yield problem(kind, path.name, what, f"chmod 600 {path}")
