"""`fedlnm-site approve`: show what a study would do at this hospital, and allow it."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from client.commands.departures import consent, describe_consent, describe_left, to_be_called
from client.gate import approvals
from client.site import SiteSettings, identity_of, load_site
from client.store.privacy_budget import epsilon_of
from client.store.site_db import recall_study, remember_study, site_db
from common.disclosure.rule import RULES, refusal_words, stricter
from common.disclosure.training import check_enrolment, check_masking
from common.errors import InputError, StudyError, UsageError
from common.masking import identity
from common.masking.absence import FEWEST_DAYS, MOST_DAYS
from common.messages.exchanges import CATALOGUE
from common.study.changes import changes
from common.study.model import PrivacySettings, SiteEntry, Study, load_study
from common.study.sums import subsets_of
from common.study.training import colluders_stood
from common.utils.console import consoles
from common.utils.durable import open_folder, write_durably
from common.utils.text_file import as_word

console, screen = consoles()
SiteOption = Annotated[Path, typer.Option(help="site.toml, or its folder")]
LEAVES = {
    "query.enrol": "numbers of patients and positives, names of columns, versions of software,"
    " CPU or GPU; this site's consent to be left out, where it signed one",
    "query.key": "random numbers, each sealed for one other site: parts of a key that only the"
    " sites have",
    "query.agree": "word that this site has that key",
    "query.follow": "word that this site has heard of sums that others were asked for",
    "query.sum": "sums over this site's patients, {masked}",
    "train.network": "changed network weights and sums of the loss, {masked}",
    "query.sign": "a signature: whose changes of the weights a sum holds that this site is part of",
    "query.open": "keys of this site's masks in that one round, once all in the sum have signed",
    "query.rows": "one line a training patient: probabilities to {decimals} decimal(s) and the"
    " label, no ids; {masked}",
    "evaluate.handout": "counts, areas under the curve and curves of this site's test patients, and"
    " how far the final models tell its training patients from these",
}


def approve(
    study: Annotated[
        Path | None, typer.Argument(help="the study file, as the coordinator sent it")
    ] = None,
    site: SiteOption = Path("site.toml"),
    yes: Annotated[bool, typer.Option("--yes", help="do not ask (for scripts)")] = False,
    dossier: Annotated[
        bool, typer.Option("--dossier", help="show the study's whole privacy dossier")
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="only show what changed since it was approved here")
    ] = False,
    listed: Annotated[bool, typer.Option("--list", help="show what is approved")] = False,
    revoke: Annotated[str | None, typer.Option(help="digest to take back, its start")] = None,
    may_leave_after: Annotated[
        int | None,
        typer.Option(
            help="agree that the others go on without this hospital once it was away for more than"
            " so many days; what that costs is shown first",
            metavar="DAYS",
            min=FEWEST_DAYS,
            max=MOST_DAYS,
        ),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
) -> None:
    """Read what a study would do, and allow it. Nothing else is answered.

    Exit code 0: done. 1: not approved.
    """
    if sum((study is not None, listed, revoke is not None)) != 1:
        raise UsageError("give one of STUDY, --list and --revoke", where="approve")
    if may_leave_after is not None and (study is None or diff):
        raise UsageError("--may-leave-after goes with a STUDY to approve", where="approve")
    if (dossier or diff) and study is None:
        option = "--dossier" if dossier else "--diff"
        raise UsageError(f"{option} goes with a study.toml", where="approve")
    settings = settings_of(site)
    private = identity_of(settings)
    if study is not None and diff:
        print_lines(describe_changes(load_study(study), approved_before(settings, private)))
    elif study is not None:
        away = Away(may_leave_after, site_file(site).parent) if may_leave_after else None
        _approve(
            load_study(study), settings, private, ask=not yes, whole_dossier=dossier, away=away
        )
        console.emit(
            f"it is answered by fedlnm-site run --site {as_word(site)}, also by one that runs now"
        )
    elif revoke is not None:
        gone = approvals.revoke(settings.work, private, revoke)
        console.emit(f"no longer approved: study {gone.name}")
    else:
        _show(approvals.read_approvals(settings.work, private.public_key()), json_output)


@dataclasses.dataclass(frozen=True)
class Away:
    """Days after which the others may go on, and the folder for the consent."""

    days: int
    folder: Path


def site_file(site: Path) -> Path:
    """Return the site.toml that is meant, which may be given by its folder."""
    return site / "site.toml" if site.is_dir() else site


def settings_of(site: Path) -> SiteSettings:
    """Return the settings of a site, and make its private work folder."""
    settings = load_site(site_file(site))
    open_folder(settings.work)
    return settings


def _approve(
    study: Study,
    settings: SiteSettings,
    private: Ed25519PrivateKey,
    *,
    ask: bool,
    whole_dossier: bool,
    away: Away | None = None,
) -> None:
    _check_roster(study, settings, private)
    _check_coordinator(study, settings)
    before = approved_before(settings, private)
    print_lines(describe_study(study, settings.name, settings.privacy))
    print_lines(describe_calls(study, settings.name, before))
    if any(one.name == study.name for one in before):
        print_lines(describe_changes(study, before))
    print_lines(describe_left(study, settings.work))
    print_lines(describe_budget(study, settings))
    print_lines(_would_refuse(study, settings))
    _show_dossier(study, settings, whole_dossier)
    if away is not None:
        print_lines(describe_consent(study, settings.name, away.days))
    called = (
        typer.confirm(f"have you called {name}: is it away, or does it agree?", default=False)
        for name in (to_be_called(study, settings.work) if ask else ())
    )
    if ask and not (all(called) and typer.confirm("approve this?", default=False)):
        console.print("not approved")
        raise typer.Exit(1)
    remember_study(settings.work, study)
    approvals.approve(settings.work, private, study.digest(), study.name)
    console.print("approved")
    if away is not None:
        made = consent(study, settings, private, away.days, away.folder)
        console.emit(
            "the consent goes to the coordinator with the next run of the study; before that, or"
            f" for other hospitals to keep, send it: {made}"
        )


def _check_roster(study: Study, settings: SiteSettings, private: Ed25519PrivateKey) -> None:
    """Refuse a study without this site, or with another key of it."""
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
    """Refuse a study of another coordinator than the one that this site was set up with."""
    own = settings.deployment.coordinator_key if settings.deployment else ""
    if own and study.coordinator_key != own:
        raise InputError(
            "the study is of another coordinator than the one this site was set up with",
            where="coordinator_key",
            remedy="ask for a study that fedlnm-server prepare has made",
        )


def print_lines(lines: Iterable[str]) -> None:
    """Show lines on the screen; whatever does not print in them is spelled out."""
    for line in lines:
        console.emit(line)


def _would_refuse(study: Study, settings: SiteSettings) -> Iterator[str]:
    """Describe what this hospital's own file does not allow, whoever its patients are."""
    privacy = stricter(study.privacy, settings.privacy)
    subsets = subsets_of(study, settings.name)
    refusals = (*check_enrolment(study, privacy, {}), *check_masking(study, privacy, subsets))
    for refusal in refusals:
        yield f"THIS HOSPITAL WOULD REFUSE IT, approved or not: {refusal_words(refusal)}"


def _show_dossier(study: Study, settings: SiteSettings, whole: bool) -> None:
    """Show what can leave and what is not protected; write all of it to a file."""
    from common.dossier import in_plain_words, study_dossier
    from server.phases.program import declared_phases

    phases = declared_phases(study)
    path, text = dossier_path(settings.work, study), study_dossier(study, phases)
    write_durably(path, text.encode())
    shown = text if whole else in_plain_words(study, phases)
    print_lines((*shown.splitlines(), f"the whole privacy dossier of this study: {path}"))


def dossier_path(work: Path, study: Study) -> Path:
    """Return the file of a study's dossier, beside the approvals in a site's work folder."""
    return work / f"dossier-{study.name}.md"


def _show(found: Sequence[approvals.Approval], json_output: bool) -> None:
    if json_output:
        sys.stdout.write(
            json.dumps([dataclasses.asdict(entry) for entry in found], indent=1) + "\n"
        )
        return
    for entry in found:
        line = f"{entry.date}  {entry.digest[:16]}  {entry.name}"
        console.emit(line)
    console.print(f"{len(found)} approved")


# -- what is shown of a study ------------------------------------------------------------------


def describe_study(study: Study, site: str, own: PrivacySettings | None) -> Iterator[str]:
    """Describe a study to a site, with the thresholds that hold there."""
    privacy = stricter(study.privacy, own)
    yield f"study {study.name}, digest {study.digest()}"
    yield f"predicts: {study.endpoint}"
    yield f"models: {', '.join((*study.base_models, *study.fusion_models))}"
    yield "who takes part:"
    for entry in study.sites:
        yield f"  {_member(entry, site)}"
    yield "test sets:"
    for test in study.test_sets:
        yield f"  {test.name}: {test.split} of {', '.join(test.sites)}"
    yield f"columns of cohort.csv that are read: label, split, {_columns(study)}"
    if study.needs_images:
        yield "CT images and contours are read; they stay here"
    yield "what leaves this hospital, and only this:"
    for exchange, words in _leaving(study):
        yield f"  {exchange} ({CATALOGUE[exchange].purpose}): {words}"
    yield "thresholds (the stricter of the study's and this site's own), and what they protect:"
    for rule, described in RULES.items():
        if described.setting:
            threshold = getattr(privacy, described.setting)
            yield f"  {rule}: {described.setting} = {threshold}, for {described.protects}"
    yield f"privacy mode: {privacy.mode}; masking: {study.privacy.masking}"
    yield f"rounds: {_rounds(study)}"
    if study.quorum:
        sites = len(study.training_sites)
        stood = colluders_stood(study.quorum, sites)
        yield (
            f"a round of training needs {study.quorum} of {sites} hospitals; one update can be read"
            f" alone only if more than {stood} of them side with the coordinator, or from the"
            f" difference of two rounds (at most {privacy.max_departures})"
        )


def approved_before(settings: SiteSettings, private: Ed25519PrivateKey) -> list[Study]:
    """Return the studies approved here that can still be read, the latest approval last."""
    found = []
    for approval in approvals.read_approvals(settings.work, private.public_key()):
        with suppress(StudyError, ValidationError):
            found.append((approval.date, recall_study(settings.work, approval.digest)))
    return [study for _, study in sorted(found, key=lambda one: one[0])]


def describe_calls(study: Study, site: str, before: Sequence[Study]) -> Iterator[str]:
    """Describe whom to call before the study is approved.

    Parameters
    ----------
    before : studies approved here: keys that stand in them were compared then.
    """
    compared = {(name, key) for one in before for name, key in one.roster.items()}
    others = {name: key for name, key in study.roster.items() if name != site and key}
    new = [name for name, key in others.items() if (name, key) not in compared]
    if new:
        yield (
            f"CALL {', '.join(new)}, each at a number that you know already, and let them read"
            ' their fingerprint to you: each hospital finds its own beside "this site" when it'
            " approves. Keys that only the coordinator vouches for could be its own, and then"
            " masks hide nothing from it."
        )
    if known := [name for name in others if name not in new]:
        yield f"with the key that was approved here before: {', '.join(known)}"
    if study.coordinator_key and study.coordinator_key not in {s.coordinator_key for s in before}:
        shown = identity.fingerprint(identity.public_key(study.coordinator_key))
        yield f"the coordinator's fingerprint, which it read to you when you joined: {shown}"


def describe_changes(study: Study, before: Sequence[Study]) -> Iterator[str]:
    """Describe what changed since a study of this name was approved last."""
    same = [one for one in before if one.name == study.name]
    if not same:
        yield f"no study called {study.name} was approved here before"
    elif any(one.digest() == study.digest() for one in same):
        yield "this very study is approved here already: nothing has changed"
    else:
        yield f"CHANGED since {study.name} was approved here (digest {same[-1].digest()[:12]}):"
        for line in changes(same[-1], study):
            yield f"  {line}"


def describe_budget(study: Study, settings: SiteSettings) -> Iterator[str]:
    """Describe the privacy budget of this hospital's patients, where networks are trained here."""
    private, most = study.differential_privacy, settings.max_epsilon
    if not study.networks or settings.name not in study.training_sites:
        return
    if not private.on and most is None:
        return
    if not private.on:
        yield (
            "THIS HOSPITAL WOULD REFUSE IT, approved or not: networks are trained without noise,"
            f" and max_epsilon = {most:g} in site.toml (rule privacy_budget)"
        )
        return
    spent = [one for _, one in site_db(settings.work).all_spendings()]
    limit = "no limit: site.toml has no max_epsilon" if most is None else f"max_epsilon = {most:g}"
    yield (
        f"privacy budget of a patient: {limit}; epsilon {epsilon_of(spent, private.delta):.3g} at"
        f" delta {private.delta:g} was spent here at most, over all runs and studies"
    )
    yield "  sums and out-of-fold rows are exact, outside this account; fedlnm-site check adds up"


def _member(entry: SiteEntry, site: str) -> str:
    key = "no key"
    if entry.public_key:
        key = f"key {identity.fingerprint(identity.public_key(entry.public_key))}"
    role = "trains" if entry.trains else "tests only"
    return f"{entry.name}: {role}, {key}{' <- this site' if entry.name == site else ''}"


def _columns(study: Study) -> str:
    return ", ".join(column.name for column in study.clinical) or "no clinical ones"


def _leaving(study: Study) -> Iterator[tuple[str, str]]:
    how = _masked(study)
    shares_rows = study.fusion.pooling == "rows"
    for exchange, words in LEAVES.items():
        unused = (
            (exchange == "train.network" and not study.networks)
            or (exchange == "query.rows" and not shares_rows)
            or (exchange in ("query.sign", "query.open") and not (study.networks and study.quorum))
        )
        sent = words.format(masked=how, decimals=study.fusion.row_decimals)
        yield exchange, "not used by this study" if unused else sent


def _masked(study: Study) -> str:
    over_sites = [t.name for t in study.test_sets if len(t.sites) > 1]
    clear = [subset for subset in ("train", *over_sites) if not study.masked(subset)]
    words = "masked: readable only as a sum over all sites"
    return f"{words}; in the CLEAR: {', '.join(clear)}" if clear else words


def _rounds(study: Study) -> str:
    networks = [f"{name} {study.network(name).rounds}" for name in study.networks]
    return ", ".join([*networks, f"support vector machines at most {study.svm.max_rounds}"])
