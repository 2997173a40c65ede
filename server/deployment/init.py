"""Make a coordinator's folder, for `fedlnm-server init`, and renew its certificate."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path

from common.errors import InputError
from common.masking import identity
from common.messages.joining import Invitation
from common.utils.durable import create_durably, write_durably
from common.utils.service_units import ServiceUnit, this_user, unit_name
from common.utils.text_file import as_word
from server.deployment.authority import (
    SERVER_DAYS,
    Pair,
    days_left,
    is_for,
    make_authority,
    make_server,
)
from server.deployment.folder import CoordinatorFolder, CoordinatorSettings
from server.deployment.nginx import write_proxy

RENEW_DAYS = 30.0

_SETTINGS = """\
# After a change of anything but notice_minutes: fedlnm-server renew, and reload nginx.

# Where hospitals reach the coordinator: the proxy's name and port. After a change, send the
# hospitals the new invitation, too.
address = "{address}"

# On this machine only, where the SuperLink listens behind the proxy.
port = {port}

# IP address of this machine on which the proxy listens; empty for all that it has.
listen = "{listen}"

# On this machine only: from here the proxy shows enrolled hospitals how a run stands, each with a
# request that it signs (fedlnm-site status). 0 = they cannot see it.
status_port = {status_port}

# Minutes that a hospital may be late before a notice says so (addresses: keys/notices.txt).
notice_minutes = {notice_minutes:g}
"""

_README = """\
# Coordinator of studies with fedlnm

Hospitals connect to `{address}`. Only the proxy (nginx) listens there; everything else of Flower
listens on this machine alone, on port {port}.

| file | what it is | who may see it |
|---|---|---|
| `coordinator.toml` | address and port | anyone |
| `for-sites/invitation.json` | what a new hospital gets first | anyone |
| `for-sites/STUDY/study.toml` | the study that hospitals read and approve | the hospitals |
| `roster.json` | hospitals that were enrolled, with their public keys, signed | anyone |
| `certificates/` | certificate of the authority and of the server | anyone |
| `nginx/` | configuration of the proxy | anyone |
| `fedlnm-*@.service` | lets systemd run a study; its first lines say how | anyone |
| `keys/identity.pem` | signs roster, invitation and final models | this user alone |
| `keys/authority.key` | signs certificates; keep it offline, `renew` needs it | nobody |
| `keys/server.key` | of the server's certificate; nginx reads it | this user, nginx |
| `keys/notices.txt` | if you write it: addresses that notices go to | this user alone |
| `keys/superexec.secret` | lets the study's program run, and no other | this user alone |
| `state/` | Flower's database and logs | this user alone |
| `runs/` | one folder a run: checkpoint, results, report | the study group |

Make a backup after every run, with `fedlnm-server backup`. Whoever has an account on this machine
and the certificate in `certificates/` can reach Flower's control interface: keep the machine to
this purpose.

    fedlnm-server enrol   {root} REQUEST.json   a hospital joins
    fedlnm-server prepare {root} STUDY.toml     the study for the hospitals to approve
    fedlnm-server run     {root} STUDY          run it
    fedlnm-server status  {root}                where it is
    fedlnm-server resume  {root}                go on with an interrupted run
    fedlnm-server backup  {root} --out FILE     keep what must not be lost
    fedlnm-server renew   {root}                a new server certificate, once a year

Step by step: docs/coordinator.md of the release.
"""


def make_coordinator(root: Path, settings: CoordinatorSettings) -> CoordinatorFolder:
    """Make a coordinator's folder with fresh keys.

    Raises
    ------
    InputError : there is one already.
    """
    folder = CoordinatorFolder(root)
    if folder.settings_file.exists() or folder.keys.exists():
        raise InputError(
            "there is a coordinator's folder already, and its keys are never overwritten",
            where=str(folder.root),
            remedy="choose another folder; for a new certificate: fedlnm-server renew",
        )
    for path in (folder.root, folder.keys, folder.state):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in (folder.authority.parent, folder.for_sites, folder.runs):
        path.mkdir(exist_ok=True)
    private = identity.generate()
    identity.save(private, folder.identity)
    create_durably(folder.superexec_secret, secrets.token_bytes(32))
    authority = make_authority(settings.host)
    create_durably(folder.authority_key, authority.key)
    _write_public(folder.authority, authority.certificate)
    text = _SETTINGS.format(**settings.model_dump())
    folder.settings_file.write_text(text, encoding="utf-8")
    renew(folder)
    write_guides(folder)
    return folder


def write_guides(folder: CoordinatorFolder) -> None:
    """Write README.md and the unit for systemd, which name the folder's place."""
    (folder.root / "README.md").write_text(_readme(folder), encoding="utf-8")
    unit = _unit(folder)
    (folder.root / unit.file).write_text(unit.text("STUDY"), encoding="utf-8")


def _unit(folder: CoordinatorFolder) -> ServiceUnit:
    """Return the unit that runs a study; one that was interrupted goes on when it starts."""
    return ServiceUnit(
        file=unit_name(folder.root, takes_argument=True),
        description="Coordinator of the federated study %i",
        program="fedlnm-server",
        arguments=("run", str(folder.root), "%i", "--once"),
        user=this_user(),
        root=folder.root,
        # what stopped with a message needs a person, and would stop again
        restart="on-abnormal",
    )


def renew(folder: CoordinatorFolder, days: int = SERVER_DAYS) -> bool:
    """Make the server's certificate, the proxy's configuration and the invitation anew.

    Sites trust the authority, so a new certificate takes no action of theirs. Without the
    authority's key a certificate that still holds for the address stays; return if it is new.

    Raises
    ------
    InputError : the authority's key is not there, and the certificate has to be new.
    """
    settings = folder.settings()
    is_new = folder.authority_key.is_file()
    if is_new:
        authority = Pair(folder.authority.read_bytes(), folder.authority_key.read_bytes())
        server = make_server(authority, settings.host, days)
        write_durably(folder.server_key, server.key)
        _write_public(folder.server_certificate, server.certificate)
    elif not _still_holds(folder):
        raise InputError(
            "the authority's key is not there",
            where=str(folder.authority_key),
            remedy="bring it back from where it is kept, for as long as this takes",
        )
    write_proxy(folder)
    private = identity.load(folder.identity).private
    invitation = Invitation(
        address=settings.address,
        certificate=folder.authority.read_text(encoding="ascii"),
        coordinator_key=identity.public_text(private.public_key()),
    )
    _write_public(folder.invitation, invitation.signed_by(private).to_bytes())
    return is_new


def _still_holds(folder: CoordinatorFolder) -> bool:
    """Return whether the server's certificate is for its address, and needs no new one soon."""
    if not folder.server_certificate.is_file():
        return False
    own = folder.server_certificate.read_bytes()
    soon = days_left(own, datetime.now(UTC)) < RENEW_DAYS
    return is_for(own, folder.settings().host) and not soon


def _readme(folder: CoordinatorFolder) -> str:
    settings = folder.settings()
    return _README.format(address=settings.address, port=settings.port, root=folder.root)


def check_certificate(folder: CoordinatorFolder) -> str:
    """Return a warning about the server's certificate, empty where there is none.

    Raises
    ------
    InputError : it is missing or has expired.
    """
    path = folder.server_certificate
    remedy = f"fedlnm-server renew {as_word(folder.root)}, then reload nginx"
    if not path.is_file():
        raise InputError("no server certificate", where=str(path), remedy=remedy)
    left = days_left(path.read_bytes(), datetime.now(UTC))
    if left <= 0:
        raise InputError("the server's certificate has expired", where=str(path), remedy=remedy)
    if left < RENEW_DAYS:
        return f"the server's certificate expires in {left:.0f} days -> {remedy}"
    return ""


def _write_public(path: Path, data: bytes) -> None:
    write_durably(path, data)
    path.chmod(0o644)
