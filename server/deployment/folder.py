"""The coordinator's folder: where its settings, keys, roster, studies and runs are."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.errors import InputError
from common.messages.joining import ADDRESS
from common.study.block import explain
from common.utils.text_file import read_written

SETTINGS = "coordinator.toml"


class CoordinatorSettings(BaseModel):
    """coordinator.toml.

    Parameters
    ----------
    address : host:port that hospitals connect to; the proxy listens there.
    port : on this machine only, where the SuperLink listens behind the proxy.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: Annotated[str, Field(pattern=ADDRESS)]
    port: Annotated[int, Field(ge=1, le=65535)] = 8000

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
    """Paths inside a coordinator's folder."""

    root: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", self.root.resolve())

    @property
    def settings_file(self) -> Path:
        """What a person may change."""
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
        """Signs the server's certificate; needed by `renew` only."""
        return self.keys / "authority.key"

    @property
    def server_key(self) -> Path:
        """Of the server's certificate."""
        return self.keys / "server.key"

    @property
    def superexec_secret(self) -> Path:
        """By which the SuperLink knows its SuperExec."""
        return self.keys / "superexec.secret"

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
        """Who takes part, signed."""
        return self.root / "roster.json"

    @property
    def for_sites(self) -> Path:
        """What is sent to the hospitals."""
        return self.root / "for-sites"

    @property
    def invitation(self) -> Path:
        """What a new hospital gets first."""
        return self.for_sites / "invitation.json"

    @property
    def runs(self) -> Path:
        """One folder a run."""
        return self.root / "runs"

    @property
    def state(self) -> Path:
        """What Flower keeps between starts, and the logs."""
        return self.root / "state"

    @property
    def database(self) -> Path:
        """Messages on their way, and the nodes that are registered."""
        return self.state / "superlink.db"

    def settings(self) -> CoordinatorSettings:
        """coordinator.toml.

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
            return CoordinatorSettings.model_validate(tomllib.loads(read_written(path)))
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"not valid TOML: {error}", where=str(path)) from None
        except ValidationError as error:
            raise explain(error, where=str(path), model=CoordinatorSettings) from None
