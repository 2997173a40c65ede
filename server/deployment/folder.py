"""Coordinator's folder: paths of its settings, keys, roster, studies and runs, and its lock."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from common.errors import InputError, StudyError
from common.messages.joining import ADDRESS
from common.study.block import explain
from common.utils.bounded import parse_toml
from common.utils.processes import is_held
from common.utils.text_file import read_written

SETTINGS = "coordinator.toml"


class CoordinatorSettings(BaseModel):
    """Settings in coordinator.toml.

    Parameters
    ----------
    address : host:port that hospitals connect to; the proxy listens there.
    port : on this machine only, where the SuperLink listens behind the proxy.
    listen : IP address of this machine on which the proxy listens; empty for all of them.
    notice_minutes : that a hospital may be late before a notice says so, see `notices`.
    status_port : on this machine only, from which the proxy passes on to enrolled hospitals how a
        run stands; 0 = they cannot see it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: Annotated[str, Field(pattern=ADDRESS)]
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    listen: str = ""
    notice_minutes: Annotated[float, Field(gt=0)] = 10.0
    status_port: Annotated[int, Field(ge=0, le=65535)] = 0

    @field_validator("listen")
    @classmethod
    def _is_an_ip_address(cls, value: str) -> str:
        if value:
            ip_address(value)
        return value

    @property
    def host(self) -> str:
        """Public name or IP address."""
        return self.address.rpartition(":")[0]

    @property
    def public_port(self) -> int:
        """Port that hospitals connect to."""
        return int(self.address.rpartition(":")[2])

    @property
    def superlink(self) -> str:
        """The SuperLink's address on this machine."""
        return f"127.0.0.1:{self.port}"


class _Below:
    """Path below a coordinator's folder."""

    def __init__(self, *parts: str) -> None:
        self._parts = parts

    def __get__(self, folder: CoordinatorFolder, _: object) -> Path:
        return folder.root.joinpath(*self._parts)


@dataclass(frozen=True)
class CoordinatorFolder:
    """Paths in a coordinator's folder."""

    root: Path
    settings_file = _Below(SETTINGS)
    """Settings that a person may change."""
    keys = _Below("keys")
    """Private keys; nobody else on this machine may read them."""
    identity = _Below("keys", "identity.pem")
    """The coordinator's identity key."""
    authority_key = _Below("keys", "authority.key")
    """Key that signs the server's certificate; only `renew` needs it."""
    server_key = _Below("keys", "server.key")
    """Private key of the server's certificate."""
    superexec_secret = _Below("keys", "superexec.secret")
    """Secret that authenticates the SuperExec to the SuperLink."""
    notices = _Below("keys", "notices.txt")
    """Addresses that notices go to; a person writes it, and it may hold passwords."""
    authority = _Below("certificates", "authority.pem")
    """Certificate that sites trust."""
    server_certificate = _Below("certificates", "server.pem")
    """Certificate of the server."""
    proxy = _Below("nginx")
    """Configuration of the proxy."""
    roster = _Below("roster.json")
    """Signed list of the hospitals that take part."""
    for_sites = _Below("for-sites")
    """Files that are sent to the hospitals."""
    invitation = _Below("for-sites", "invitation.json")
    """File that a new hospital gets first."""
    runs = _Below("runs")
    """Folders of runs."""
    state = _Below("state")
    """Files that Flower keeps between starts, and the logs."""
    database = _Below("state", "superlink.db")
    """Messages on their way, and the nodes that are registered."""
    tickets = _Below("state", "tickets.json")
    """Tickets of hospitals that asked how a run stands, each taken once."""
    lock = _Below("state", "lock")
    """Held by the command that runs a study."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", self.root.resolve())

    def prepared_study(self, name: str) -> Path:
        """File of a study as the hospitals approve it."""
        return self.for_sites / name / "study.toml"

    def settings(self) -> CoordinatorSettings:
        """Read coordinator.toml.

        Raises
        ------
        InputError : the folder is not a coordinator's, or the file does not validate.
        """
        path = self.settings_file
        if not path.is_file():
            raise InputError(
                "not a coordinator's folder (no coordinator.toml)",
                where=str(self.root),
                remedy="make one with fedlnm-server init FOLDER --address HOST:PORT",
            )
        try:
            return CoordinatorSettings.model_validate(parse_toml(read_written(path), str(path)))
        except ValidationError as error:
            raise explain(error, where=str(path), model=CoordinatorSettings) from None


@contextmanager
def only_one(folder: CoordinatorFolder) -> Iterator[None]:
    """Hold the right to run something in this folder, which one process has at a time.

    Raises
    ------
    StudyError : another process has it.
    """
    with folder.lock.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StudyError(
                "a run is under way in this folder",
                where=str(folder.root),
                remedy="see fedlnm-server status; wait, or end it with Ctrl-C. To run studies side"
                " by side, name them in one command: fedlnm-server run FOLDER STUDY STUDY",
            ) from None
        yield


def is_busy(folder: CoordinatorFolder) -> bool:
    """Tell if a coordinator's command holds the folder."""
    return is_held(folder.lock)
