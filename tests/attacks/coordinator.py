"""A coordinator that keeps all it hears, and that may lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flwr.app import Message, RecordDict
from flwr.common.serde import recorddict_to_proto

from client.app import app
from client.gate.site_gate import AdmittedRequest, SiteGate
from client.site import load_site
from client.store.site_db import recall_study
from client.workspace import Workspace, open_workspace
from common.masking.layout import RingSums, to_rings
from common.messages.codec import decode, encode
from common.messages.exchanges import Problem, SumItem, TrainRequest
from common.study.model import Study, write_study
from common.transforms.views import materialise
from server.app import run_configured_study
from server.federation.federation import Federation
from server.progress.events import Events
from sim.engines.inprocess import InProcessGrid
from sim.sites import place_coordinator, place_sites, with_identities
from tests import builders

Lie = Callable[[str, Any], Any]


def honest(site: str, content: Any) -> Any:
    """Return the message to send."""
    return content


@dataclass(frozen=True)
class Heard:
    """A site's reply: what it was asked, what it said, and that as bytes on the wire."""

    site: str
    kind: str
    request: Any
    reply: Any
    data: bytes


class Coordinator(InProcessGrid):
    """A grid that records every reply; `ask` and `hand_on` may put another content in place."""

    def __init__(self, sites: Mapping[str, Path]) -> None:
        super().__init__(app, sites)
        self._paths = dict(sites)
        self._names = dict(zip(self.get_node_ids(), sites, strict=True))
        self.heard: list[Heard] = []
        self.ask: Lie = honest
        self.hand_on: Lie = honest

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Deliver, listen, hand on."""
        replies = []
        for message_id in message_ids:
            message = self._waiting[message_id]
            site = self._names[message.metadata.dst_node_id]
            wanted = decode(message.content)
            request = self.ask(site, wanted)
            message.content = encode(request)
            for reply in super().pull_messages([message_id]):
                said = decode(reply.content)
                data = recorddict_to_proto(reply.content).SerializeToString()
                kind = message.metadata.message_type
                self.heard.append(Heard(site, kind, request, said, data))
                told = self.hand_on(site, said)
                if not isinstance(said, Problem):
                    reply.content = self._receipted(site, kind, wanted, told)
                replies.append(reply)
        return replies

    def _receipted(self, site: str, kind: str, request: Any, told: Any) -> RecordDict:
        """Return what is handed on, with the receipt of a site that had said so when asked so."""
        gate = SiteGate(load_site(self._paths[site]))
        if isinstance(request, TrainRequest) and not request.weights.size:
            vars(request)["digest"] = getattr(told, "request", "")  # the site knows the weights
        study = recall_study(gate.settings.work, request.study)
        return gate.receipted(AdmittedRequest(kind, request, study), encode(told))


@dataclass(frozen=True)
class Rehearsal:
    """A study with its sites placed below `folder`; runs of it share the sites' work folders."""

    study: Study
    sites: dict[str, Path]

    def federation(self, run: str = "r") -> Federation:
        """A federation whose grid is a `Coordinator`."""
        return Federation(grid=Coordinator(self.sites), study=self.study, run=run)

    def run(
        self, out: Path, label: str = "r", *, ask: Lie = honest, hand_on: Lie = honest
    ) -> Coordinator:
        """The whole study; the grid that listened."""
        grid = Coordinator(self.sites)
        grid.ask, grid.hand_on = ask, hand_on
        config = {
            "study": str(write_study(self.study, out / "input" / "study.toml")),
            "out": str(out),
            "label": label,
            "identity": str(place_coordinator(out / "input")),
        }
        run_configured_study(grid, config, Events())
        return grid

    def workspace(self, site: str, run: str = "r") -> Workspace:
        """The site's own."""
        return open_workspace(self.sites[site], self.study.digest(), run)

    def true_rings(self, site: str, item: SumItem, run: str = "r") -> RingSums:
        """Return the values of an item as sent without masks."""
        rows = materialise(item.view, self.workspace(site, run).tables, item.subset)
        sites = len(self.study.members(item.subset))
        return to_rings(item.statistic, item.statistic.from_rows(rows), rows.p, sites)


def rehearse(folder: Path, *, verifying: Sequence[str] = (), **overrides: Any) -> Rehearsal:
    """Place the sites of the study below `folder`, with these blocks instead of its own.

    Parameters
    ----------
    verifying : sites that derive every question themselves.
    """
    study = with_identities(builders.amended(folder / "study.toml", **overrides))
    data = {name: folder / name for name in study.site_names}
    placed = place_sites(
        data,
        folder / "run",
        folder / "cache",
        exclude_bad_patients=False,
        verifying=verifying,
    )
    return Rehearsal(study, placed)
