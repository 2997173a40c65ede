"""Words about hospitals that left or are away, for one that approves a study without them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import tomli_w
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import TypeAdapter, ValidationError

from client.site import SiteSettings
from client.store.departures import Departures, keep_consent, utc_now
from client.store.ledger import Ledger
from client.store.masks import Rosters
from common.errors import InputError
from common.ledger.entry import Record
from common.masking import identity
from common.masking.absence import AbsentSite
from common.masking.agreement import roster_digest
from common.masking.lost_keys import LetGoSite
from common.study.model import Study
from common.utils.bounded import parse_toml
from common.utils.durable import write_durably
from common.utils.text_file import read_written


def describe_left(study: Study, work: Path) -> Iterator[str]:
    """Describe the hospitals that a study goes on without, to the site that has these records."""
    if study.left:
        yield "WHO LEFT FOR GOOD, and signed that its own sums may be found by subtraction:"
    rosters, departures = Rosters(work), Departures(work, study)
    for statement in study.left:
        name, known = statement.site, rosters.recall(statement.roster)
        shown = identity.fingerprint(identity.public_key(statement.public_key))
        yield f"  {name}: key {shown}, roster {statement.roster[:12]}"
        if isinstance(statement, AbsentSite):
            yield f"    it signed beforehand, for study {statement.study[:12]} alone"
        if isinstance(statement, LetGoSite):
            yield from _describe_lost(statement)
        if departures.proves(statement):
            yield (
                f"    this is {name}'s key on record here: sums that were given together with"
                f" {name} are given again without it, and the difference is {name}'s alone;"
                " this hospital's stay hidden among those of the hospitals that stay"
            )
            if isinstance(statement, AbsentSite):
                yield from _describe_absence(statement, departures)
        elif isinstance(statement, LetGoSite) and rosters.proves(statement):
            yield (
                "    NOT ENOUGH: the coordinator and two other hospitals of that roster must"
                " confirm the new key (fedlnm-site confirm); sums over the same patients stay"
                " refused"
            )
        elif known:
            yield (
                f"    NOT a key that {name} has on record here: do not approve, ask {name} by"
                " phone; sums over the same patients stay refused"
            )
        else:
            yield "    nothing is on record here of this roster: its statement changes nothing here"


def to_be_called(study: Study, work: Path) -> tuple[str, ...]:
    """Return the hospitals that are gone without having said so now, and that only a call finds."""
    departures = Departures(work, study)
    unheard = (one for one in study.left if isinstance(one, AbsentSite | LetGoSite))
    return tuple(dict.fromkeys(one.site for one in unheard if departures.proves(one)))


def _describe_lost(request: LetGoSite) -> Iterator[str]:
    who = ", ".join(one.site or "the coordinator" for one in request.confirmations) or "nobody"
    yield (
        f"    it lost this key, and signed with a new one: {request.fingerprint()}, confirmed by"
        f" {who}. CALL {request.site}, at a number that you know already, and let them read it to"
        " you: a coordinator with two hospitals on its side could have made it up"
    )


def _describe_absence(consent: AbsentSite, departures: Departures) -> Iterator[str]:
    name, last = consent.site, departures.last_sum_with(consent.site)
    if last is None:
        yield f"    this hospital never gave a sum together with {name}"
        return
    days = (utc_now() - last).days
    counted = (
        f"by this hospital's ledger the last sum together with {name} was given on"
        f" {last:%Y-%m-%d}, {days} day(s) ago; {name} agreed to be left out after more than"
        f" {consent.days}"
    )
    if consent.holds(last, utc_now()):
        yield f"    {counted}"
    else:
        yield (
            f"    TOO EARLY: {counted}. Nothing of this study is answered before"
            f" {consent.holds_from(last):%Y-%m-%d %H:%M} UTC"
        )
    yield (
        f"    CALL {name}, at a number that you know already: a coordinator that keeps it out looks"
        " the same from here. Approve only if it is away, or says that it agrees"
    )


_CONSENTS = TypeAdapter(tuple[AbsentSite, ...])
HEADER = """\
# Consent in advance, made by fedlnm-site approve --may-leave-after. For the coordinator, and for
# every other hospital to keep. Once the hospital has been away for so long:
# fedlnm-server prepare FOLDER STUDY.toml --without THIS_FILE
"""


def describe_consent(study: Study, site: str, days: int) -> Iterator[str]:
    """Describe what a hospital agrees to, and what it costs it.

    Raises
    ------
    InputError : the study has no masked sums that the others could go on with.
    """
    others = [name for name in study.training_sites if name != site]
    if not study.masked("train") or site not in study.training_sites or len(others) < 3:
        raise InputError(
            "the others could not go on without this hospital: masking takes three that train",
            where="--may-leave-after",
            remedy="approve the study without it",
        )
    yield f"CONSENT IN ADVANCE: {site} may be left out of this study once it is away for long."
    yield (
        f"  The others may go on without it when it gave no sum for more than {days} days. Each"
        " counts by its own ledger and clock; the coordinator cannot say so for them."
    )
    yield (
        f"  It costs what leaving costs: whoever takes the sums without {site} off those from"
        f" before has {site}'s OWN sums of this study: counts, means, tables, matrices of its"
        " columns, changes of network weights. No mask hides them any more."
    )
    yield (
        "  The others cannot tell a dead machine from one that the coordinator keeps out, or from"
        " a study that rests: each is asked whether it called first. Take more"
        " days than the study may rest."
    )
    yield (
        "  It holds for this study alone, and cannot be taken back; once the others went on, this"
        " hospital cannot come back with the same patients. Without it they wait."
    )


def consent(
    study: Study, settings: SiteSettings, private: Ed25519PrivateKey, days: int, folder: Path
) -> Path:
    """Sign the consent, write it into the ledger and a file of this folder; return the file.

    It also goes to the coordinator by itself, with the next enrolment.

    The file has the consents to earlier forms of the study, too: sums may have been given under
    each.
    """
    roster = roster_digest(study.roster)
    signed = AbsentSite.sign(private, settings.name, roster, study.digest(), days)
    path = folder / f"{settings.name}.may-leave-{study.name}.toml"
    statements = [*_earlier(path, signed), signed]
    text = HEADER + tomli_w.dumps({"left": [one.model_dump() for one in statements]})
    record = Record(
        exchange="consent",
        decision="released",
        study=study.digest(),
        roster=roster,
        payload=hashlib.sha256(text.encode()).hexdigest(),
        size=len(text),
    )
    Ledger(settings.work, private).append(record)
    keep_consent(settings.work, signed)
    write_durably(path, text.encode())
    path.chmod(0o644)
    return path


def _earlier(path: Path, signed: AbsentSite) -> tuple[AbsentSite, ...]:
    """Return the consents in a file, without those to the same study."""
    if not path.is_file():
        return ()
    try:
        written = parse_toml(read_written(path), str(path))
        found = _CONSENTS.validate_python(written.get("left", ()))
    except ValidationError:
        raise InputError(
            "the consents to earlier forms of the study cannot be read",
            where=str(path),
            remedy="put the file back as it was written, or move it away",
        ) from None
    return tuple(one for one in found if one.study != signed.study)
