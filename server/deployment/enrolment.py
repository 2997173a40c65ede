"""`fedlnm-server enrol`: a hospital's request becomes an entry of the signed roster."""

from __future__ import annotations

from common.masking import identity
from common.messages.joining import JoinRequest
from server.deployment.folder import CoordinatorFolder
from server.deployment.roster import read_roster, write_roster


def enrol(folder: CoordinatorFolder, request: JoinRequest, *, replace: bool) -> None:
    """Put a site on the roster; a running coordinator registers its node within seconds.

    Raises
    ------
    InputError : the name or a key is taken.
    SignatureError : the request or the roster was changed by somebody.
    """
    request.check()
    private = identity.load(folder.identity).private
    roster = read_roster(folder.roster, private.public_key())
    write_roster(folder.roster, roster.with_site(request, replace=replace), private)


def expel(folder: CoordinatorFolder, name: str) -> None:
    """Take a site off the roster; its node is let in no more.

    Raises
    ------
    InputError : no such site.
    """
    private = identity.load(folder.identity).private
    roster = read_roster(folder.roster, private.public_key())
    write_roster(folder.roster, roster.without(name), private)
