"""`fedlnm-site init`: make a site's folder with its keys, and the request that it sends."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from pydantic import ValidationError

from common.errors import InputError
from common.masking import identity
from common.messages.joining import Invitation, JoinRequest
from common.study.block import explain
from common.utils.console import consoles
from common.utils.durable import create_durably, write_durably
from common.utils.service_units import GRAPHICS_CARDS, ServiceUnit, this_user, unit_name

console, screen = consoles()

_SITE = """\
# Settings of this hospital. Paths are relative to this file's folder.

name = "{name}"              # as in every study; it stands on the coordinator's roster

data = "data"                # folder with cohort.csv (docs/formats.md explains it)
work = "work"                # what studies keep here: approvals, ledger, logs
cache = "cache"              # prepared crops and features of patients, no whole images
identity = "keys/identity.pem"  # signs what leaves; never give it away, never lose it

threads = 1                  # of the numerical libraries
device = "auto"              # networks: a graphics card where there is one; or cpu, cuda, cuda:1
workers = 0                  # processes that prepare images; 0 = one per core
memory_gib = 8.0             # bound for preparing images

# Patients whose data cannot be used stop the site, so that nobody is lost unnoticed.
# true = go on without them.
exclude_bad_patients = false

# Nothing is answered but what fedlnm-site approve has allowed.
approvals = "required"

# Thresholds of this hospital, where they are stricter than a study's:
# [privacy]
# min_rows = 20

# What this hospital's people hear of their site (docs/site.md); nothing of patients is in it.
# [watch]
# notices = "keys/notices.txt"  # addresses of mail, chat or webhook, one a line
# port = 9095                   # /health and /metrics, for this machine alone

[deployment]
superlink = "{address}"  # the coordinator; this machine connects to it and to nothing else
root_certificates = "keys/coordinator.pem"  # its certificate is checked with this one
coordinator_key = "{coordinator_key}"  # studies of nobody else are approved
node_key = "keys/node"       # opens the connection
port = {port}                  # on this machine only; another for each site on one machine
"""


def init(
    folder: Annotated[Path, typer.Argument(help="new folder of this site")],
    name: Annotated[str, typer.Option(help="this site's name in every study")],
    invitation: Annotated[Path, typer.Option(help="the file that the coordinator has sent")],
    port: Annotated[int, typer.Option(help="on this machine only")] = 9094,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask (for scripts)")] = False,
) -> None:
    """Make this site's keys and site.toml, and the request to send to the coordinator.

    Exit code 0: done. 1: not made.
    """
    letter = Invitation.read(invitation)
    console.emit(f"coordinator at {letter.address}, fingerprint {letter.check()}")
    console.emit("call the coordinator, at a number that you know, and let them read theirs to you")
    if not yes and not typer.confirm("are the two the same, letter by letter?", default=False):
        console.emit("not made")
        raise typer.Exit(1)
    made = join(folder, name, letter, port)
    console.emit(
        f"made {folder}: put cohort.csv into {folder / 'data'}, or name its folder in site.toml"
    )
    console.emit(f"to run it as a service, install the unit: {made.unit}")
    console.emit(f"send to the coordinator: {made.request_file}")
    console.emit(f"fingerprint that you read to them by phone: {made.fingerprint}")


@dataclass(frozen=True)
class Joined:
    """File to send to the coordinator, fingerprint to compare by phone, and unit for systemd."""

    request_file: Path
    fingerprint: str
    unit: Path


def join(folder: Path, name: str, invitation: Invitation, port: int) -> Joined:
    """Make keys, site.toml and the request in a folder.

    Raises
    ------
    InputError : there are keys or settings already, or `name` cannot be a site's.
    SignatureError : the invitation was changed by somebody.
    """
    invitation.check()
    for path in (folder / "site.toml", folder / "keys"):
        if path.exists():
            raise InputError(
                "this folder is a site's already, and its keys are never overwritten",
                where=str(path),
                remedy="choose another folder",
            )
    keys, private = folder / "keys", identity.generate()
    node_key = ec.generate_private_key(ec.SECP384R1())  # as Flower takes it
    request = _request(name, private, node_key)
    identity.save(private, keys / "identity.pem")
    pem = node_key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    create_durably(keys / "node", pem)
    request_file = folder / f"{name}.request.json"
    write_durably(request_file, request.to_bytes())
    request_file.chmod(0o644)
    write_durably(keys / "coordinator.pem", invitation.certificate.encode())
    (folder / "data").mkdir(exist_ok=True)
    (folder / "work").mkdir(mode=0o700, exist_ok=True)
    text = _SITE.format(
        name=name,
        address=invitation.address,
        coordinator_key=invitation.coordinator_key,
        port=port,
    )
    (folder / "site.toml").write_text(text, encoding="utf-8")
    fingerprint = identity.fingerprint(private.public_key())
    return Joined(request_file, fingerprint, write_unit(folder, name))


def write_unit(folder: Path, name: str) -> Path:
    """Write the unit of a site's service into its folder."""
    unit = _unit(folder.resolve(), name)
    (folder / unit.file).write_text(unit.text(), encoding="utf-8")
    return folder / unit.file


def _unit(root: Path, name: str) -> ServiceUnit:
    """Return the unit that keeps this site taking part."""
    return ServiceUnit(
        file=unit_name(root),
        description=f"Hospital {name} of federated studies",
        program="fedlnm-site",
        arguments=("run", "--site", str(root)),
        user=this_user(),
        root=root,
        devices=GRAPHICS_CARDS,
    )


def _request(
    name: str, private: Ed25519PrivateKey, node_key: ec.EllipticCurvePrivateKey
) -> JoinRequest:
    """Return the signed request; refuse a name that no site can have."""
    try:
        return JoinRequest.make(name, private, node_key)
    except ValidationError as error:
        raise explain(error, where="--name", model=JoinRequest) from None
