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
from common.utils.liveness import is_held
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


@dataclass(frozen=True)
class CoordinatorFolder:
    """Paths in a coordinator's folder."""

    root: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", self.root.resolve())

    @property
    def settings_file(self) -> Path:
        """Settings that a person may change."""
        return self.root / SETTINGS

    @property
    def keys(self) -> Path:
        """Private keys; nobody else on this machine may read them."""
        return self.root / "keys"

    @property
    def identity(self) -> Path:
        """The coordinator's identity key."""
        return self.keys / "identity.pem"

    @property
    def authority_key(self) -> Path:
        """Key that signs the server's certificate; only `renew` needs it."""
        return self.keys / "authority.key"

    @property
    def server_key(self) -> Path:
        """Private key of the server's certificate."""
        return self.keys / "server.key"

    @property
    def superexec_secret(self) -> Path:
        """Secret that authenticates the SuperExec to the SuperLink."""
        return self.keys / "superexec.secret"

    @property
    def notices(self) -> Path:
        """Addresses that notices go to; a person writes it, and it may hold passwords."""
        return self.keys / "notices.txt"

    @property
    def authority(self) -> Path:
        """Certificate that sites trust."""
        return self.root / "certificates" / "authority.pem"

    @property
    def server_certificate(self) -> Path:
        """Certificate of the server."""
        return self.root / "certificates" / "server.pem"

    @property
    def proxy(self) -> Path:
        """Configuration of the proxy."""
        return self.root / "nginx"

    @property
    def roster(self) -> Path:
        """Signed list of the hospitals that take part."""
        return self.root / "roster.json"

    @property
    def for_sites(self) -> Path:
        """Files that are sent to the hospitals."""
        return self.root / "for-sites"

    def prepared_study(self, name: str) -> Path:
        """File of a study as the hospitals approve it."""
        return self.for_sites / name / "study.toml"

    @property
    def invitation(self) -> Path:
        """File that a new hospital gets first."""
        return self.for_sites / "invitation.json"

    @property
    def runs(self) -> Path:
        """Folders of runs."""
        return self.root / "runs"

    @property
    def state(self) -> Path:
        """Files that Flower keeps between starts, and the logs."""
        return self.root / "state"

    @property
    def database(self) -> Path:
        """Messages on their way, and the nodes that are registered."""
        return self.state / "superlink.db"

    @property
    def lock(self) -> Path:
        """Held by the command that runs a study."""
        return self.state / "lock"

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
