"""Compare the study at hand with what was approved, and with this site."""

from __future__ import annotations

from collections.abc import Sequence

from client.check.coordinator import NO_DEPLOYMENT
from client.check.finding import (
    Findings,
    not_applicable,
    not_checked,
    ok,
    problem,
    problem_of,
    warning,
)
from client.gate.approvals import Approval, read_approvals
from client.site import Deployment, SiteSettings
from common.errors import InputError, StudyError
from common.masking import identity
from common.study.model import Study

SITE, COORDINATOR = "study.site", "study.coordinator"
STUDY = "study.approval"
_LETTERS = 12


def look_at_roster(study: Study, site: str) -> Findings:
    """What part the study gives this site."""
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


def look_at_coordinator_key(study: Study, deployment: Deployment | None) -> Findings:
    """Studies of anybody else are not approved here."""
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


def look_at_approvals(study: Study, settings: SiteSettings) -> Findings:
    """Approvals are signed with the site's key, so without it none holds."""
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
        yield problem(
            STUDY,
            f"study {study.name}",
            f"another digest ({digest[:_LETTERS]}) than the study of this name that was approved"
            f" ({others[-1].digest[:_LETTERS]})",
            "find out what changed; then fedlnm-site approve, and revoke the old one",
        )
        return
    remedy = "read what it would do, then fedlnm-site approve STUDY"
    yield warning(STUDY, f"study {study.name}", "not approved here yet", remedy)
