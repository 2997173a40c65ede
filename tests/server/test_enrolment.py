"""Enrolment: who is asked, who is missing, and who cannot take part."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, Message
from flwr.proto.node_pb2 import NodeInfo

from common.codec import decode, encode
from common.errors import SiteError
from common.exchanges import EnrolReply, Problem
from common.study import Study, parse_study
from server.federation import Federation
from sim.inprocess import SERVER_NODE, InProcessGrid, task_identity

STUDY = """
name = "s"
endpoint = "event"
base_models = ["clinical"]
fusion_models = []
sites = [{ name = "a" }, { name = "b" }, { name = "c", trains = false }]
test_sets = [{ name = "t", split = "external_test", sites = ["b", "c"] }]
clinical = [{ name = "x", kind = "continuous" }]
[privacy]
masking = "off"
[waiting]
enrol_seconds = 0.2
"""
Answer = Callable[[str, Study], Any]


@pytest.fixture
def study() -> Study:
    return parse_study(STUDY)


@pytest.fixture(autouse=True)
def server_identity() -> Iterator[None]:
    with task_identity(SERVER_NODE):
        yield


def honest(site: str, study: Study) -> EnrolReply:
    return EnrolReply(site, study.digest(), {}, {"train": (3, 1)}, {"clinical": ("x",)}, (), 0)


def changing(who: str, **fields: Any) -> Answer:
    """What all sites would say, but with other values in the fields of one."""
    return lambda site, study: dataclasses.replace(
        honest(site, study), **fields if site == who else {}
    )


class Nodes(InProcessGrid):
    """Nodes with the names they were registered under, as in a deployment; "" = none."""

    def __init__(self, study: Study, answer: Answer, nodes: dict[str, str]) -> None:
        super().__init__(self._serve, {site: Path(site) for site in nodes})  # type: ignore[arg-type]
        self._names = tuple(nodes.values())
        self._study, self._answer = study, answer
        self.asked: list[str] = []

    def _serve(self, message: Message, context: Context) -> Message:
        decode(message.content)
        self.asked.append(Path(str(context.node_config["site-config"])).name)
        return Message(encode(self._answer(self.asked[-1], self._study)), reply_to=message)

    def get_nodes(self) -> list[NodeInfo]:
        named = zip(self.get_node_ids(), self._names, strict=True)
        return [NodeInfo(node_id=node, name=name) for node, name in named]


def enrol(study: Study, answer: Answer = honest, **nodes: str) -> list[str]:
    """Enrol these nodes, name as registered by the site that answers; who was asked."""
    grid = Nodes(study, answer, nodes or dict.fromkeys("abc", ""))
    assert set(Federation(grid=grid, study=study, run="r").enrol()) == {"a", "b", "c"}
    return grid.asked


def test_hospitals_of_other_studies_are_not_asked(study: Study) -> None:
    assert enrol(study, z="elsewhere", a="a", b="b", c="c") == ["a", "b", "c"]


def test_nodes_without_names_are_all_asked(study: Study) -> None:
    assert enrol(study, a="", b="", c="", z="") == ["a", "b", "c", "z"]


def test_a_site_missing_at_enrolment_is_named(study: Study) -> None:
    with pytest.raises(SiteError, match="not enrolled in time: c -> start these sites"):
        enrol(study, a="", b="")


def test_a_node_that_enrols_in_another_sites_name_is_refused(study: Study) -> None:
    with pytest.raises(SiteError, match="site b: a reply to another question, or in another"):
        enrol(study, a="b", b="a", c="c")


def test_a_site_that_cannot_take_part_is_named(study: Study) -> None:
    def not_approved(site: str, study: Study) -> Any:
        return Problem("study_not_approved", "0" * 8) if site == "b" else honest(site, study)

    with pytest.raises(SiteError, match=r"site b: cannot go on \(study_not_approved"):
        enrol(study, not_approved, a="a", b="b", c="c")


def test_an_enrolment_in_another_study_is_refused(study: Study) -> None:
    with pytest.raises(SiteError, match="site b: a reply to another question"):
        enrol(study, changing("b", study="0" * 64))


def test_sites_with_other_columns_are_refused(study: Study) -> None:
    with pytest.raises(SiteError, match="site b: its tables have other columns than those of a"):
        enrol(study, changing("b", columns={"clinical": ("y",)}))
