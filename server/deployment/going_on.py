"""Go on without hospitals: put their statements into a study, and take them out of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from common.errors import InputError
from common.masking.absence import AbsentSite
from common.masking.lost_keys import COORDINATOR, FEWEST_HOSPITALS, LetGoSite
from common.study.block import explain
from common.study.model import Departure, Study
from common.utils.bounded import parse_toml
from common.utils.text_file import read_written
from server.deployment.folder import CoordinatorFolder
from server.deployment.run_folder import RunFolder

_STATEMENTS = TypeAdapter(tuple[Departure, ...])


def read_statements(path: Path) -> tuple[Departure, ...]:
    """Return the statements in a file that a hospital has sent.

    Raises
    ------
    InputError : no such file, or not one with statements.
    """
    if not path.is_file():
        raise InputError("no such file", where=str(path), remedy="ask the hospital for it again")
    remedy = "give the file as fedlnm-site leave, confirm, or approve --may-leave-after wrote it"
    try:
        written = parse_toml(read_written(path), str(path))
        found = _STATEMENTS.validate_python(written.get("left", ()))
    except ValidationError as error:
        raise InputError(
            explain(error, where=str(path), model=Study).what, where=str(path), remedy=remedy
        ) from None
    if not found:
        raise InputError("no statement of a hospital in it", where=str(path), remedy=remedy)
    return found


def without(study: Study, statements: Sequence[Departure], *, where: str) -> Study:
    """Return the study without the hospitals that made these statements, and with these.

    Test sets that are theirs alone go, too.

    Raises
    ------
    InputError : what is left is no study, or a statement is not one that its hospital signed.
    """
    gone = {one.site for one in statements}
    statements = tuple(_joined(statements))
    written = study.model_dump(mode="json")
    written["sites"] = [one for one in written["sites"] if one["name"] not in gone]
    for test in written["test_sets"]:
        test["sites"] = [name for name in test["sites"] if name not in gone]
    written["test_sets"] = [test for test in written["test_sets"] if test["sites"]]
    known = [one.model_dump() for one in study.left]
    written["left"] += [s for one in statements if (s := one.model_dump()) not in known]
    try:
        return Study.model_validate(written)
    except ValidationError as error:
        raise explain(error, where=where, model=Study) from None


def _joined(statements: Sequence[Departure]) -> Iterator[Departure]:
    """Yield each statement once; a request to be let go with the confirmations of all copies."""
    first: dict[str, Departure] = {}
    for one in statements:
        if isinstance(one, LetGoSite):
            known = first.get(one.signature)
            if isinstance(known, LetGoSite):
                one = known.with_confirmations(one.confirmations)
        first[one.signature] = one
    yield from first.values()


def check_confirmed(study: Study) -> None:
    """Return if those who have to confirm a hospital's new key seem to have done so.

    Whose keys the confirmations are, every hospital judges for itself.

    Raises
    ------
    InputError : the coordinator's word is missing, or that of two hospitals.
    """
    for one in study.left:
        if not isinstance(one, LetGoSite):
            continue
        names = {confirmation.site for confirmation in one.confirmations}
        hospitals = sorted(names - {COORDINATOR, one.site})
        if COORDINATOR in names and len(hospitals) >= FEWEST_HOSPITALS:
            continue
        who = ", ".join((["the coordinator"] if COORDINATOR in names else []) + hospitals)
        raise InputError(
            f"{one.site} lost its keys, and its request to be let go is confirmed by"
            f" {who or 'nobody'}, not by the coordinator and two hospitals",
            where=f"study {study.name}",
            remedy="give all their files, --without FILE for each: the one that fedlnm-server"
            " confirm wrote, and two of hospitals (fedlnm-site confirm)",
        )


def check_absences(folder: CoordinatorFolder, study: Study) -> None:
    """Return if the hospitals left out by their consent have been away here for long enough.

    Every hospital that stays counts for itself, too: this only spares them a study that they
    refuse.

    Raises
    ------
    InputError : one answered too recently.
    """
    consents = [one for one in study.left if isinstance(one, AbsentSite)]
    last = _last_replies(folder, {one.site for one in consents})
    for one in consents:
        seen = last.get(one.site)
        if seen is not None and not one.holds(seen):
            raise InputError(
                f"{one.site} may be left out after more than {one.days} days, and answered here on"
                f" {seen:%Y-%m-%d}",
                where=f"study {study.name}",
                remedy=f"wait until {one.holds_from(seen):%Y-%m-%d %H:%M} UTC, or for {one.site};"
                " every hospital counts in its own ledger, too, and refuses before",
            )


def _last_replies(folder: CoordinatorFolder, sites: Iterable[str]) -> dict[str, datetime]:
    """Return when each of these sites last answered in any run of this folder."""
    wanted, last = frozenset(sites), dict[str, float]()
    for path in folder.runs.glob("*/input/study.toml") if wanted else ():
        for event in RunFolder(path.parent.parent).events():
            if event["kind"] == "contact" and event["site"] in wanted:
                last[event["site"]] = max(event["time"], last.get(event["site"], 0.0))
    return {site: datetime.fromtimestamp(time, UTC) for site, time in last.items()}
