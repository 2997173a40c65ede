"""`fedlnm-server init` and `renew`: make the coordinator's folder, and its certificate anew."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path

from common.errors import InputError
from common.masking import identity
from common.messages.joining import Invitation
from common.utils.durable import create_durably, write_durably
from server.deployment.authority import (
    SERVER_DAYS,
    Pair,
    days_left,
    make_authority,
    make_server,
)
from server.deployment.folder import CoordinatorFolder, CoordinatorSettings
from server.deployment.nginx import write_proxy
from server.deployment.readme import readme_text

RENEW_DAYS = 30.0

_SETTINGS = """\
# Where hospitals reach the coordinator: the proxy's name and port. After a change: fedlnm-server
# renew, install the proxy's configuration again, and send the sites the new invitation.
address = "{address}"

# On this machine only, where the SuperLink listens behind the proxy.
port = {port}
"""


def found(root: Path, settings: CoordinatorSettings) -> CoordinatorFolder:
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
    text = _SETTINGS.format(address=settings.address, port=settings.port)
    folder.settings_file.write_text(text, encoding="utf-8")
    renew(folder)
    (folder.root / "README.md").write_text(readme_text(folder), encoding="utf-8")
    return folder


def renew(folder: CoordinatorFolder, days: int = SERVER_DAYS) -> None:
    """Make the server's certificate, the proxy's configuration and the invitation anew.

    Sites trust the authority, so a new certificate takes no action of theirs.

    Raises
    ------
    InputError : the authority's key is not there.
    """
    settings = folder.settings()
    if not folder.authority_key.is_file():
        raise InputError(
            "the authority's key is not there",
            where=str(folder.authority_key),
            remedy="bring it back from where it is kept, for as long as this takes",
        )
    authority = Pair(folder.authority.read_bytes(), folder.authority_key.read_bytes())
    server = make_server(authority, settings.host, days)
    write_durably(folder.server_key, server.key)
    _write_public(folder.server_certificate, server.certificate)
    write_proxy(folder)
    private = identity.load(folder.identity).private
    invitation = Invitation(
        address=settings.address,
        certificate=authority.certificate.decode(),
        coordinator_key=identity.public_text(private.public_key()),
    )
    _write_public(folder.invitation, invitation.signed_by(private).to_bytes())


def check_certificate(folder: CoordinatorFolder) -> str:
    """A warning about the server's certificate, empty where there is none.

    Raises
    ------
    InputError : it is missing or has expired.
    """
    path = folder.server_certificate
    remedy = f"fedlnm-server renew {folder.root}, then reload nginx"
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
