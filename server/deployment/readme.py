"""The README of a coordinator's folder."""

from __future__ import annotations

from server.deployment.folder import CoordinatorFolder

_TEXT = """\
# Coordinator of studies with fedlnm

Hospitals connect to `{address}`. Only the proxy (nginx) listens there; everything else of Flower
listens on this machine alone, on port {port}.

| file | what it is | who may see it |
|---|---|---|
| `coordinator.toml` | address and port | anyone |
| `for-sites/invitation.json` | what a new hospital gets first | anyone |
| `for-sites/STUDY/` | study and app that hospitals read and approve | the hospitals |
| `roster.json` | hospitals that were enrolled, with their public keys, signed | anyone |
| `certificates/` | certificate of the authority and of the server | anyone |
| `nginx/` | configuration of the proxy | anyone |
| `keys/identity.pem` | signs roster, invitation and final models | this user alone |
| `keys/authority.key` | signs certificates; keep it offline, `renew` needs it | nobody |
| `keys/server.key` | of the server's certificate; nginx reads it | this user, nginx |
| `keys/superexec.secret` | lets the study's program run, and no other | this user alone |
| `state/` | Flower's database and logs | this user alone |
| `runs/` | one folder a run: checkpoint, results, report | the study group |

Back up `keys/`, `roster.json` and `runs/`. Whoever has an account on this machine and the
certificate in `certificates/` can reach Flower's control interface: keep the machine to this
purpose.

    fedlnm-server enrol   {root} REQUEST.json   a hospital joins
    fedlnm-server prepare {root} STUDY.toml     study and app for the hospitals to approve
    fedlnm-server run     {root} STUDY          run it
    fedlnm-server status  {root}                where it is
    fedlnm-server resume  {root}                go on with an interrupted run
    fedlnm-server renew   {root}                a new server certificate, once a year

Step by step: docs/coordinator.md of the release.
"""


def readme_text(folder: CoordinatorFolder) -> str:
    """What is in the folder, and what to do with it."""
    settings = folder.settings()
    return _TEXT.format(address=settings.address, port=settings.port, root=folder.root)
