"""Signed roster of a coordinator: the sites that it has enrolled, with their keys."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from common.errors import InputError, SignatureError, StudyError
from common.masking import identity
from common.messages.joining import JoinRequest, node_key_pem
from common.messages.signed_document import SignedDocument
from common.utils.durable import alone, write_durably
from server.deployment.folder import CoordinatorFolder


class Roster(SignedDocument):
    """Roster of enrolled sites, in the order in which they joined."""

    purpose: ClassVar[str] = "roster"
    sites: tuple[JoinRequest, ...] = ()
    changed: str = ""

    @property
    def identity_keys(self) -> dict[str, str]:
        """Return the identity key (base64) by site."""
        return {entry.site: entry.identity_key for entry in self.sites}

    def with_site(self, request: JoinRequest, *, replace: bool) -> Roster:
        """Return the roster with one more site, or with new keys of one that is on it.

        Raises
        ------
        InputError : the name is taken and `replace` is not given, or a key is another site's.
        """
        others = [entry for entry in self.sites if entry.site != request.site]
        before = next((entry for entry in self.sites if entry.site == request.site), None)
        if before is not None and before != request and not replace:
            raise InputError(
                "a site of this name is enrolled, with other keys",
                where=f"site {request.site}",
                remedy="if it had to make new keys, say --replace; studies must be prepared anew,"
                " and hospitals that gave sums together with it refuse them with the new keys",
            )
        for entry in others:
            if _keys_of(entry) & _keys_of(request):
                raise InputError(
                    f"it has a key of site {entry.site}",
                    where=f"site {request.site}",
                    remedy="every site makes its own keys, with fedlnm-site init",
                )
        if before is None:
            sites = [*others, request]
        else:
            sites = [request if entry.site == request.site else entry for entry in self.sites]
        return self.model_copy(update={"sites": tuple(sites)})

    def without(self, name: str) -> Roster:
        """Return the roster without a site.

        Raises
        ------
        InputError : no such site.
        """
        left = tuple(entry for entry in self.sites if entry.site != name)
        if len(left) == len(self.sites):
            known = ", ".join(entry.site for entry in self.sites) or "none"
            raise InputError(f"no site {name} is enrolled", where="roster", remedy=f"have: {known}")
        return self.model_copy(update={"sites": left})


def _keys_of(entry: JoinRequest) -> frozenset[object]:
    """Return both keys of a site; that of its node as Flower knows it, without any remark."""
    return frozenset((entry.identity_key, node_key_pem(entry.node_key)))


def read_roster(path: Path, public: Ed25519PublicKey) -> Roster:
    """Read the roster; it is empty where nobody has joined yet.

    Raises
    ------
    InputError : not a roster.
    SignatureError : the coordinator did not sign it, or a site did not sign its own entry.
    """
    if not path.is_file():
        return Roster()
    roster = Roster.read(path)
    try:
        roster.check_signature(public)
        for entry in roster.sites:
            entry.check()
    except StudyError as error:
        raise SignatureError(
            f"the roster was changed by somebody else ({error.what})",
            where=str(path),
            remedy="restore it from the backup, or delete it and enrol every site again",
        ) from None
    return roster


def enrol(folder: CoordinatorFolder, request: JoinRequest, *, replace: bool) -> None:
    """Put a site on the roster; a running coordinator registers its node within seconds.

    Raises
    ------
    InputError : the name or a key is taken.
    SignatureError : the request or the roster was changed by somebody.
    """
    request.check()
    _change(folder, lambda roster: roster.with_site(request, replace=replace))


def expel(folder: CoordinatorFolder, name: str) -> None:
    """Take a site off the roster; its node is let in no more.

    Raises
    ------
    InputError : no such site.
    """
    _change(folder, lambda roster: roster.without(name))


def _change(folder: CoordinatorFolder, change: Callable[[Roster], Roster]) -> None:
    """Read, change, sign and write the roster, one command at a time."""
    private, path = identity.load(folder.identity).private, folder.roster
    with alone(path.with_name(f".{path.name}.lock")):
        changed = change(read_roster(path, private.public_key()))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        signed = changed.model_copy(update={"changed": now}).signed_by(private)
        write_durably(path, signed.to_bytes())
