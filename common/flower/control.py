"""Flower's client of a SuperLink's control interface, which registers nodes and starts runs.

It is the client that the program `flwr` uses, but hands in the app of this release as it is, where
`flwr run` would build another.
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
from common.flower.app import FlowerApp


class UnreachableError(StudyError):
    """Error of a SuperLink that does not answer at the moment."""


@dataclass(frozen=True)
class Node:
    """Registered site; `status` is registered (never seen), online or offline."""

    node_id: int
    name: str
    public_key: bytes
    status: str


@dataclass(frozen=True)
class RunState:
    """State of a run in Flower's words."""

    status: str
    sub_status: str
    details: str

    @property
    def finished(self) -> bool:
        """Tell if it has ended, well or not."""
        return self.status == Status.FINISHED

    @property
    def completed(self) -> bool:
        """Tell if it ended well."""
        return self.finished and self.sub_status == SubStatus.COMPLETED


class Control:
    """Connection to the SuperLink of this machine.

    Parameters
    ----------
    address : host:port on loopback.
    authority : certificate against which the SuperLink's is checked.
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
        """Return all registered sites."""
        with _explained():
            found = self._client.ListNodes(ListNodesRequest()).nodes_info
        return [Node(info.node_id, info.name, info.public_key, info.status) for info in found]

    def register(self, name: str, public_key: bytes) -> None:
        """Let a site connect.

        Parameters
        ----------
        public_key : PEM, of its node key.
        """
        with _explained():
            self._client.RegisterNode(RegisterNodeRequest(public_key=public_key, name=name))

    def unregister(self, node_id: int) -> None:
        """Keep a site from connecting."""
        with _explained():
            self._client.UnregisterNode(UnregisterNodeRequest(node_id=node_id))

    def start_run(self, app: FlowerApp, run_config: Mapping[str, str]) -> int:
        """Start a run of an app and return its id."""
        config: Any = dict(run_config)
        with _explained():
            response = self._client.StartRun(
                StartRunRequest(
                    fab=fab_to_proto(Fab(app.digest, app.content, {})),
                    override_config=user_config_to_proto(config),
                )
            )
        if not response.HasField("run_id"):
            raise StudyError(f"Flower did not start the run ({response.note})", where="SuperLink")
        return int(response.run_id)

    def run_state(self, run_id: int) -> RunState:
        """Return the state of a run."""
        with _explained():
            run = self._client.ListRuns(ListRunsRequest(run_id=run_id)).run_dict[run_id]
        return RunState(run.status.status, run.status.sub_status, run.status.details)

    def unfinished_runs(self) -> list[int]:
        """Return the ids of runs that Flower takes to be under way."""
        with _explained():
            runs = self._client.ListRuns(ListRunsRequest()).run_dict
        return [run_id for run_id, run in runs.items() if run.status.status != Status.FINISHED]

    def stop_run(self, run_id: int) -> None:
        """End a run."""
        with _explained():
            self._client.StopRun(StopRunRequest(run_id=run_id))


@contextmanager
def _explained() -> Iterator[None]:
    """Raise what goes wrong as an error of ours, in Flower's words."""
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
