"""The SuperLink's control interface, on this machine: nodes are registered, runs are started.

Uses Flower's own client of 1.41, which `flwr` on the command line uses too: it hands in the very
bytes of the app that the hospitals approved, where `flwr run` would build them anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from flwr.common.constant import Status, SubStatus
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.error import FlowerError
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor

from common.errors import StudyError


class UnreachableError(StudyError):
    """The SuperLink does not answer at the moment."""


@dataclass(frozen=True)
class Node:
    """A registered site; `status` is registered (never seen), online or offline."""

    node_id: int
    name: str
    public_key: bytes
    status: str


@dataclass(frozen=True)
class RunState:
    """How a run stands with Flower."""

    status: str
    sub_status: str
    details: str

    @property
    def finished(self) -> bool:
        """Whether it has ended, however."""
        return self.status == Status.FINISHED

    @property
    def completed(self) -> bool:
        """Whether it ended well."""
        return self.finished and self.sub_status == SubStatus.COMPLETED


class Control:
    """A connection to the SuperLink of this machine.

    Parameters
    ----------
    address : host:port on loopback.
    authority : certificate that the SuperLink's is checked with.
    """

    def __init__(self, address: str, authority: Path) -> None:
        self._client = ControlHttpClient.from_server_address(
            address,
            insecure=False,
            root_certificates=authority.read_bytes(),
            interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr CLI")],
        )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def nodes(self) -> list[Node]:
        """All registered sites."""
        with _told():
            found = self._client.ListNodes(ListNodesRequest()).nodes_info
        return [Node(info.node_id, info.name, info.public_key, info.status) for info in found]

    def register(self, name: str, public_key: bytes) -> None:
        """Let a site connect.

        Parameters
        ----------
        public_key : PEM, of its node key.
        """
        with _told():
            self._client.RegisterNode(RegisterNodeRequest(public_key=public_key, name=name))

    def unregister(self, node_id: int) -> None:
        """Let a site connect no more."""
        with _told():
            self._client.UnregisterNode(UnregisterNodeRequest(node_id=node_id))

    def start_run(self, app: bytes, digest: str, run_config: Mapping[str, str]) -> int:
        """Start a run of an app; its id.

        Parameters
        ----------
        digest : SHA-256 of the app, hexadecimal.
        """
        config: Any = dict(run_config)
        with _told():
            response = self._client.StartRun(
                StartRunRequest(
                    fab=fab_to_proto(Fab(digest, app, {})),
                    override_config=user_config_to_proto(config),
                )
            )
        if not response.HasField("run_id"):
            raise StudyError(f"Flower did not start the run ({response.note})", where="SuperLink")
        return int(response.run_id)

    def run_state(self, run_id: int) -> RunState:
        """How a run stands."""
        with _told():
            run = self._client.ListRuns(ListRunsRequest(run_id=run_id)).run_dict[run_id]
        return RunState(run.status.status, run.status.sub_status, run.status.details)

    def unfinished_runs(self) -> list[int]:
        """Runs that Flower takes to be under way."""
        with _told():
            runs = self._client.ListRuns(ListRunsRequest()).run_dict
        return [run_id for run_id, run in runs.items() if run.status.status != Status.FINISHED]

    def stop_run(self, run_id: int) -> None:
        """End a run."""
        with _told():
            self._client.StopRun(StopRunRequest(run_id=run_id))


@contextmanager
def _told() -> Iterator[None]:
    """Flower's own words for what went wrong."""
    try:
        yield
    except httpx.HTTPStatusError as error:
        known = FlowerError.from_json(error.response.text)
        words = known.message if known else f"HTTP status {error.response.status_code}"
        raise StudyError(words, where="SuperLink", remedy="see state/superlink.log") from None
    except httpx.TransportError as error:
        raise UnreachableError(
            f"the SuperLink does not answer ({error})",
            where="SuperLink",
            remedy="see state/superlink.log",
        ) from None
