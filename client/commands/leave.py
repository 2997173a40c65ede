"""`fedlnm-site leave`: the one way to drop out for good, open to the hospital itself alone.

`fedlnm-site confirm`: say that another hospital lost its keys, once it was called.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import tomli_w
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from client.commands.approve import SiteOption, settings_of
from client.gate import approvals
from client.site import SiteSettings, identity_of
from client.store.ledger import Ledger
from client.store.masks import Rosters
from client.store.site_db import recall_study, site_db
from common.errors import InputError, StudyError
from common.ledger.entry import Record
from common.masking import identity
from common.masking.agreement import roster_digest
from common.masking.leaving import LeftSite
from common.masking.lost_keys import LetGoSite, as_text, check_confirmable, describe, read_requests
from common.study.model import Study, load_study
from common.utils.console import consoles
from common.utils.durable import write_durably

console, screen = consoles()
MEANING = """\
What this means:
  The hospitals that stay may give the same sums again, without this hospital. Whoever holds the
  sums from before takes the new ones off and has this hospital's OWN numbers: counts, means,
  tables, matrices of its columns, changes of network weights. No mask hides them any more.
  Cells of its tables can be single patients, and from a matrix of many columns over few patients
  whole patients may be worked out.
  This holds for all sums that it gave together with exactly these hospitals, whatever the study.
  It cannot be taken back, and with the same patients this hospital cannot come back.
  No image, no row and no identifier leaves with the statement.
  Who is only away for a while needs no statement: the others wait, and the run goes on."""
HEADER = """\
# Statement of leaving, made by fedlnm-site leave. For the coordinator:
# take the hospital out of sites and test_sets, put this at the end of study.toml (a line left = []
# goes), and let every hospital that stays approve the study anew.
"""


def leave(
    study: Annotated[Path, typer.Argument(help="study.toml that this hospital takes part in")],
    out: Annotated[Path, typer.Option(help="file to write, for the coordinator")],
    site: SiteOption = Path("site.toml"),
    yes: Annotated[bool, typer.Option("--yes", help="do not ask (for scripts)")] = False,
    lost_keys: Annotated[
        bool,
        typer.Option(
            "--lost-keys",
            help="ask with the new keys of a new folder: those of before are lost. It takes the"
            " word of the coordinator and of two hospitals",
        ),
    ] = False,
) -> None:
    """Leave a study for good, and allow that this hospital's sums are found by subtraction.

    Exit code 0: the statement is written. 1: not left.
    """
    settings, left_study = settings_of(site), load_study(study)
    private = identity_of(settings)
    if out.exists():
        raise InputError("there is such a file", where=str(out), remedy="give another name")
    if lost_keys:
        _check_lost(left_study, settings, private)
    else:
        _check_own(left_study, settings, private)
    for line in describe_leaving(left_study, settings.name):
        console.emit(line)
    if not yes and not typer.confirm("leave for good?", default=False):
        console.print("not left")
        raise typer.Exit(1)
    if lost_keys:
        _ask_to_be_let_go(left_study, settings, private, out)
        return
    text = HEADER + tomli_w.dumps(
        {"left": [one.model_dump() for one in statements(left_study, settings, private)]}
    )
    site_db(settings.work).forget_run_keys(left_study.digest())
    _write_down(left_study, settings, private, text.encode())
    for name in take_back(settings, private, roster_digest(left_study.roster)):
        console.emit(f"no longer approved: study {name}")
    if settings.approvals == "open":
        console.print("this site answers any study (approvals = open): stop it", markup=False)
    out.write_text(text, encoding="utf-8")
    console.emit(f"left; give this file to the coordinator: {out}")


def describe_leaving(study: Study, site: str) -> Iterator[str]:
    """Lines about what leaving is."""
    others = ", ".join(name for name in study.site_names if name != site)
    yield f"{site} leaves the study {study.name}, digest {study.digest()}, for good."
    yield f"The hospitals that stay: {others}."
    yield from MEANING.splitlines()


def statements(
    study: Study, settings: SiteSettings, private: Ed25519PrivateKey
) -> tuple[LeftSite, ...]:
    """One for the study's roster, and one for each that this site was on before others left it."""
    own, rosters = identity.public_text(private.public_key()), Rosters(settings.work)
    before = [
        one.roster for one in study.left if rosters.recall(one.roster).get(settings.name) == own
    ]
    left = dict.fromkeys((roster_digest(study.roster), *before))
    return tuple(LeftSite.sign(private, settings.name, roster) for roster in left)


def take_back(settings: SiteSettings, private: Ed25519PrivateKey, roster: str) -> Sequence[str]:
    """Take back the approvals of all studies of a roster; their names."""
    found = approvals.read_approvals(settings.work, private.public_key())
    gone = [a for a in found if _roster_of(settings, a.digest) == roster]
    for approval in gone:
        approvals.revoke(settings.work, private, approval.digest)
    return [approval.name for approval in gone]


def _roster_of(settings: SiteSettings, study: str) -> str:
    """Return the statement of a study approved here; none of one that cannot be read."""
    try:
        return roster_digest(recall_study(settings.work, study).roster)
    except (StudyError, ValidationError):
        return ""


def _check_own(study: Study, settings: SiteSettings, private: Ed25519PrivateKey) -> None:
    """InputError unless the study has this site, under its own key."""
    if study.roster.get(settings.name) != identity.public_text(private.public_key()):
        raise InputError(
            f"the study has no site {settings.name} with this site's identity key",
            where="roster",
            remedy="give the study.toml that was approved here; a site can only take itself out."
            " One that lost its keys asks to be let go: --lost-keys",
        )


def _check_lost(study: Study, settings: SiteSettings, private: Ed25519PrivateKey) -> None:
    """InputError unless the study has this site, under another key."""
    own = identity.public_text(private.public_key())
    if study.roster.get(settings.name) in (None, "", own):
        raise InputError(
            f"the study has no site {settings.name} with another identity key than this one",
            where="roster",
            remedy="give the last study.toml that had this hospital, as the coordinator sent it;"
            " with its key, leave without --lost-keys",
        )


def _ask_to_be_let_go(
    study: Study, settings: SiteSettings, private: Ed25519PrivateKey, out: Path
) -> None:
    """Write the request for each roster that this site may have been on."""
    name, lost = settings.name, study.roster[settings.name]
    rosters = dict.fromkeys((roster_digest(study.roster), *(one.roster for one in study.left)))
    text = as_text([LetGoSite.sign(private, name, lost, roster) for roster in rosters])
    _write_down(study, settings, private, text.encode())
    out.write_text(text, encoding="utf-8")
    shown = identity.fingerprint(private.public_key())
    console.emit(f"send this file to the coordinator and to two other hospitals: {out}")
    console.emit(f"they call you; fingerprint that you read to them: {shown}")


def _write_down(
    study: Study, settings: SiteSettings, private: Ed25519PrivateKey, statement: bytes
) -> None:
    record = Record(
        exchange="leave",
        decision="released",
        study=study.digest(),
        roster=roster_digest(study.roster),
        payload=hashlib.sha256(statement).hexdigest(),
        size=len(statement),
    )
    Ledger(settings.work, private).append(record)


def confirm(
    request: Annotated[Path, typer.Argument(help="file of the hospital that lost its keys")],
    out: Annotated[Path, typer.Option(help="file to write, for the coordinator")],
    site: SiteOption = Path("site.toml"),
    yes: Annotated[bool, typer.Option("--yes", help="do not ask (for scripts)")] = False,
) -> None:
    """Confirm by phone that a hospital lost its keys, and wants to be let go.

    Exit code 0: the confirmation is written. 1: not confirmed.
    """
    settings = settings_of(site)
    private, asked = identity_of(settings), read_requests(request)
    for one in asked:
        check_confirmable(one, settings.name)
    for line in describe(asked):
        console.emit(line)
    if not yes and not typer.confirm("did they read out this very fingerprint?", default=False):
        console.print("not confirmed")
        raise typer.Exit(1)
    text = as_text([one.confirmed_by(private, settings.name) for one in asked])
    record = Record(
        exchange="confirm",
        decision="released",
        roster=asked[0].roster,
        payload=hashlib.sha256(text.encode()).hexdigest(),
        size=len(text),
    )
    Ledger(settings.work, private).append(record)
    write_durably(out, text.encode())
    console.emit(f"confirmed; give this file to the coordinator: {out}")
