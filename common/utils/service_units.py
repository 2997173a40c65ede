"""Units that let systemd run a program of this release, with as few rights as it needs."""

from __future__ import annotations

import os
import pwd
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_UNIT = """\
# Made by {program} init. To install it:
#   sudo install -m 644 {file} /etc/systemd/system/
#   sudo systemctl enable --now {enabled}
# Follow it with: journalctl -fu {enabled}
[Unit]
Description={description}
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
User={user}
UMask=0077
WorkingDirectory={root}
ExecStart={command}
# the proxy of your network, if it has one (mode 600): https_proxy=http://USER:PASSWORD@HOST:PORT
EnvironmentFile=-{root}/{environment}
Restart={restart}
RestartSec=30
# a proxy that refuses the password would lock its user out
RestartPreventExitStatus={settings_code}
TimeoutStopSec=90
KillMode=mixed

# The program reads the machine and writes to these folders alone.
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={writable}
PrivateTmp=yes
CacheDirectory={cache}
Environment=XDG_CACHE_HOME=/var/cache/{cache} MPLCONFIGDIR=/var/cache/{cache}
{devices}
# It has no rights beyond those of its user, and changes nothing of the system.
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
LockPersonality=yes
RemoveIPC=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
# MemoryDenyWriteExecute stays off: compiled loops are made while the program runs.

[Install]
WantedBy=multi-user.target
"""
NO_DEVICES = "PrivateDevices=yes\n"
GRAPHICS_CARDS = (
    "# no devices but graphics cards\nDevicePolicy=closed\nDeviceAllow=char-nvidia* rw\n"
)
ENVIRONMENT = "proxy.env"
SETTINGS_CODE = 78
"""Exit code of a program that ends where only other settings help (EX_CONFIG in sysexits.h)."""


@dataclass(frozen=True)
class ServiceUnit:
    """Unit of one program.

    Parameters
    ----------
    file : its name, from `unit_name`; one that takes an argument has it as %i in `arguments`.
    program : fedlnm-site or fedlnm-server.
    arguments : of the program.
    user : who owns the folder.
    writable : folders besides `root` that the program writes to.
    devices : `NO_DEVICES` or `GRAPHICS_CARDS`.
    restart : as systemd has it.
    """

    file: str
    description: str
    program: str
    arguments: Sequence[str]
    user: str
    root: Path
    writable: Sequence[Path] = ()
    devices: str = NO_DEVICES
    restart: str = "on-failure"

    def text(self, argument: str = "") -> str:
        """Return the unit.

        Parameters
        ----------
        argument : example of the argument, for the comment that says how to install the unit.
        """
        installed = Path(sys.executable).with_name(self.program)
        return _UNIT.format(
            file=self.root / self.file,
            enabled=self.file.replace("@.", f"@{argument}."),
            description=self.description,
            program=self.program,
            user=self.user,
            root=self.root,
            environment=ENVIRONMENT,
            command=" ".join(map(_word, (str(installed), *self.arguments))),
            restart=self.restart,
            settings_code=SETTINGS_CODE,
            cache=self.file.removesuffix(".service").removesuffix("@"),
            writable=" ".join(_word(str(path)) for path in (self.root, *self.writable)),
            devices=self.devices,
        )


def unit_name(folder: Path, *, takes_argument: bool = False) -> str:
    """Return the name of the unit of a folder.

    >>> unit_name(Path("/srv/my hub"), takes_argument=True)
    'fedlnm-my-hub@.service'
    """
    plain = re.sub(r"[^A-Za-z0-9_.]+", "-", folder.resolve().name)
    return f"fedlnm-{plain}{'@' if takes_argument else ''}.service"


def this_user() -> str:
    """Return the name of the user who runs this process, or the number where it has no name.

    A container's user often has none; systemd takes both.
    """
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _word(text: str) -> str:
    """Quote a part of a command line for systemd, where it needs that."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"' if " " in text else text
