"""`fedlnm-site approve` and `run`: what this hospital takes part in, and taking part."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.gate import approval_app, approval_text, approvals
from client.site import SiteSettings, load_site
from client.store.masks import Rosters
from client.store.site_db import remember_study
from common.disclosure import DESCRIPTIONS, check_enrolment, check_masking, stricter
from common.errors import InputError, UsageError
from common.masking import identity
from common.study.model import Study, load_study
from common.study.sums import subsets_of
from common.utils.app_file import RELEASE
from common.utils.console import consoles
from common.utils.durable import open_folder

console, screen = consoles()
SiteOption = Annotated[Path, typer.Option(help="site.toml, or its folder")]


def approve(
    what: Annotated[Path | None, typer.Argument(help="study.toml, or an app's .fab file")] = None,
    site: SiteOption = Path("site.toml"),
    yes: Annotated[bool, typer.Option("--yes", help="do not ask (for scripts)")] = False,
    dossier: Annotated[
        bool, typer.Option("--dossier", help="show the study's whole privacy dossier")
    ] = False,
    listed: Annotated[bool, typer.Option("--list", help="show what is approved")] = False,
    revoke: Annotated[str | None, typer.Option(help="digest to take back, its start")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
) -> None:
    """Read what a study or an app would do, and allow it. Nothing else is answered.

    Exit code 0: done. 1: not approved.
    """
    if sum((what is not None, listed, revoke is not None)) != 1:
        raise UsageError("give one of STUDY_OR_FAB, --list and --revoke", where="approve")
    if dossier and (what is None or approval_app.is_app(what)):
        raise UsageError("--dossier goes with a study.toml", where="approve")
    settings = settings_of(site)
    private = identity.load(settings.identity).private
    if what is not None:
        _approve(what, settings, private, ask=not yes, whole_dossier=dossier)
    elif revoke is not None:
        gone = approvals.revoke(settings.work, private, revoke)
        console.tell(f"no longer approved: {gone.kind} {gone.name}")
    else:
        _show(approvals.read_approvals(settings.work, private.public_key()), json_output)


def run(site: SiteOption = Path("site.toml")) -> None:
    """Take part: wait for the coordinator's messages and answer those that are approved.

    Runs until it is stopped (Ctrl-C).
    """
    from client.commands.run import attend
    from client.gate import supernode

    settings = settings_of(site)
    private = identity.load(settings.identity).private
    deployment = supernode.deployment_of(_file(site), settings)
    found = approvals.read_approvals(settings.work, private.public_key())
    for kind in ("study", "app"):
        names = [approval.name for approval in found if approval.kind == kind]
        listed = ", ".join(names) or "NONE, so nothing will be answered"
        screen.tell(f"approved {kind}: {listed}")
    try:
        attend(_file(site), settings, deployment)
    except KeyboardInterrupt:
        screen.tell(f"site {settings.name}: no longer taking part")


def _file(site: Path) -> Path:
    return site / "site.toml" if site.is_dir() else site


def settings_of(site: Path) -> SiteSettings:
    """Settings from a site.toml or its folder; its work folder is there, and private."""
    settings = load_site(_file(site))
    open_folder(settings.work)
    return settings


def _approve(
    path: Path,
    settings: SiteSettings,
    private: Ed25519PrivateKey,
    *,
    ask: bool,
    whole_dossier: bool,
) -> None:
    if not path.is_file():
        raise InputError("no such file", where=str(path), remedy="give a study.toml or a .fab file")
    if approval_app.is_app(path):
        app = approval_app.read_app(path)
        _tell(approval_app.describe_app(app, RELEASE))
        _confirm(ask)
        approvals.approve(settings.work, private, "app", app.digest, f"{app.name} {app.version}")
    else:
        study = load_study(path)
        _check_roster(study, settings, private)
        _check_coordinator(study, settings)
        told = approval_text.describe_study(study, settings.name, settings.privacy)
        _tell((*told, *approval_text.describe_left(study, Rosters(settings.work))))
        _tell(_would_refuse(study, settings))
        _show_dossier(study, settings, whole_dossier)
        _confirm(ask)
        remember_study(settings.work, study)
        approvals.approve(settings.work, private, "study", study.digest(), study.name)
    console.print("approved")


def _check_roster(study: Study, settings: SiteSettings, private: Ed25519PrivateKey) -> None:
    """InputError unless this site takes part, under its own key where the study names one."""
    if settings.name not in study.site_names:
        raise InputError(
            f"the study has no site {settings.name}",
            where="roster",
            remedy="ask the coordinator to add it, under the name in site.toml",
        )
    own = identity.public_text(private.public_key())
    if study.roster[settings.name] not in ("", own):
        raise InputError(
            "the study names another key for this site",
            where="roster",
            remedy=f"give the coordinator this public key: {own}",
        )


def _check_coordinator(study: Study, settings: SiteSettings) -> None:
    """InputError unless the study is of the coordinator that this site was set up with."""
    own = settings.deployment.coordinator_key if settings.deployment else ""
    if own and study.coordinator_key != own:
        raise InputError(
            "the study is of another coordinator than the one this site was set up with",
            where="coordinator_key",
            remedy="ask for a study that fedlnm-server prepare has made",
        )


def _tell(lines: Iterable[str]) -> None:
    for line in lines:
        console.tell(line)


def _would_refuse(study: Study, settings: SiteSettings) -> Iterator[str]:
    """Lines about what this hospital's own file does not allow, whoever its patients are."""
    privacy = stricter(study.privacy, settings.privacy)
    subsets = subsets_of(study, settings.name)
    refusals = (*check_enrolment(study, privacy, {}), *check_masking(study, privacy, subsets))
    for refusal in refusals:
        protects = DESCRIPTIONS[refusal.rule].protects
        yield (
            f"THIS HOSPITAL WOULD REFUSE IT, approved or not: {refusal.subject} (rule"
            f" {refusal.rule}, protects {protects})"
        )


def _show_dossier(study: Study, settings: SiteSettings, whole: bool) -> None:
    """What can leave and what is not protected; all of it in a file to read or to pass on."""
    from client.gate.study_dossier import write_dossier
    from common.dossier import in_plain_words

    path = write_dossier(settings.work, study)
    text = path.read_text(encoding="utf-8") if whole else in_plain_words(study)
    _tell((*text.splitlines(), f"the whole privacy dossier of this study: {path}"))


def _confirm(ask: bool) -> None:
    if ask and not typer.confirm("approve this?", default=False):
        console.print("not approved")
        raise typer.Exit(1)


def _show(found: Sequence[approvals.Approval], json_output: bool) -> None:
    if json_output:
        sys.stdout.write(
            json.dumps([dataclasses.asdict(entry) for entry in found], indent=1) + "\n"
        )
        return
    for entry in found:
        line = f"{entry.date}  {entry.kind:5}  {entry.digest[:16]}  {entry.name}"
        console.tell(line)
    console.print(f"{len(found)} approved")
