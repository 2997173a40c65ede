"""Enrolment: who is asked, who is missing, and who cannot take part."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, Message
from flwr.proto.node_pb2 import NodeInfo
from rich.console import Console

from common.errors import SiteError
from common.masking.absence import AbsentSite, Consent
from common.masking.agreement import roster_digest
from common.messages.codec import decode, encode
from common.messages.exchanges import EnrolReply, Problem, Refusal, Refused
from common.study.model import Study, WaitingSettings
from common.study.sums import subsets_of
from server.deployment.going_on import read_statements
from server.federation.federation import Federation
from server.federation.obstacles import Obstacle, ObstaclesError, without
from server.federation.receipts import Receipts
from server.progress.events import Events
from server.progress.screen import Follower
from sim.engines.inprocess import SERVER_NODE, InProcessGrid, task_identity
from sim.sites import simulated_identity, with_identities
from tests import builders

Answer = Callable[[str, Study], Any]


@pytest.fixture
def study() -> Study:
    return builders.study(
        sites="ab",
        visitors="c",
        tests={"t": ("external_test", "bc")},
        privacy={"masking": "off"},
        waiting={"enrol_seconds": 0.2},
    )


@pytest.fixture(autouse=True)
def server_identity() -> Iterator[None]:
    with task_identity(SERVER_NODE):
        yield


def honest(site: str, study: Study) -> EnrolReply:
    counts = dict.fromkeys(subsets_of(study, site), (3, 1))
    return EnrolReply(site, study.digest(), {}, counts, {"clinical": ("x",)}, (), 0)


def changing(who: str, **fields: Any) -> Answer:
    """Replies of all sites, but with other values in the fields of one."""
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
    with pytest.raises(ObstaclesError, match="site c: not enrolled in time -> start it"):
        enrol(study, a="", b="")


def test_a_node_that_enrols_in_another_sites_name_is_refused(study: Study) -> None:
    with pytest.raises(ObstaclesError, match="site b: a reply to another question, or in"):
        enrol(study, a="b", b="a", c="c")


def test_a_site_that_cannot_take_part_is_named(study: Study) -> None:
    def not_approved(site: str, study: Study) -> Any:
        return Problem("study_not_approved", "0" * 8) if site == "b" else honest(site, study)

    with pytest.raises(
        ObstaclesError, match=r"site b: it has not approved this study \(study_not_approved"
    ):
        enrol(study, not_approved, a="a", b="b", c="c")


def test_an_enrolment_in_another_study_is_refused(study: Study) -> None:
    with pytest.raises(ObstaclesError, match="site b: a reply to another question"):
        enrol(study, changing("b", study="0" * 64))


def test_sites_with_other_columns_are_refused(study: Study) -> None:
    with pytest.raises(SiteError, match="site b: its tables have other columns than those of a"):
        enrol(study, changing("b", columns={"clinical": ("y",)}))


# -- all refusals at once -------------------------------------------------------------------------

BROKEN = {
    "a": [Refusal("rows", 10.0, "train")],
    "b": [
        Refusal("class", 5.0, "train"),
        Refusal("fold", 5.0, "train"),
        Refusal("fold_class", 4.0, "train"),
    ],
    "e": [Refusal("out_of_fold_rows", 20.0, "train")],
    "f": [Refusal("rows", 12.0, "t")],
}


@pytest.fixture
def six() -> Study:
    return builders.study(
        sites="abcde",
        visitors="f",
        tests={"t": ("external_test", "ef")},
        waiting={"enrol_seconds": 5},
    )


def test_a_consent_that_comes_with_an_enrolment_is_kept_as_prepare_reads_it(
    study: Study, tmp_path: Path
) -> None:
    keyed = with_identities(study)
    about = "b", roster_digest(keyed.roster), keyed.digest(), 30
    signed = AbsentSite.sign(simulated_identity("b"), *about)
    consent = Consent(30, signed.signature)
    grid = Nodes(keyed, changing("b", consent=consent), dict.fromkeys("abc", ""))
    made = Federation(grid=grid, study=keyed, run="r", consents=tmp_path / "consents")
    made.receipts = Receipts(None, {})  # nobody signs here
    made.enrol()
    assert read_statements(tmp_path / "consents" / "b.may-leave-s.toml") == (signed,)


def test_a_consent_that_the_hospital_did_not_sign_is_not_taken(
    study: Study, tmp_path: Path
) -> None:
    consent = Consent(30, "A" * 86 + "==")
    grid = Nodes(study, changing("b", consent=consent), dict.fromkeys("abc", ""))
    made = Federation(grid=grid, study=study, run="r", consents=tmp_path / "consents")
    with pytest.raises(ObstaclesError, match="site b: its consent is not one that it signed"):
        made.enrol()
    assert not (tmp_path / "consents").exists()


def breaking(site: str, study: Study) -> Any:
    late = (Refusal("test_class", 5.0, "t"),) if site in "ef" else ()
    refused = Refused(refusals=tuple(BROKEN.get(site, ())), site=site, withheld=late)
    return refused if site in BROKEN else honest(site, study)


def stop(study: Study, answer: Answer, names: dict[str, str]) -> tuple[ObstaclesError, list[Any]]:
    """The one error, and the events that led to it."""
    reported: list[Any] = []
    grid = Nodes(study, answer, names)
    federation = Federation(
        grid=grid, study=study, run="r", events=Events(listener=reported.append)
    )
    with pytest.raises(ObstaclesError) as caught:
        federation.enrol()
    assert sorted(grid.asked) == list("abcdef")
    return caught.value, reported


@pytest.mark.parametrize("named", [True, False], ids=["deployment", "simulation"])
@pytest.mark.parametrize("order", ["abcdef", "fedcba", "beafdc"])
def test_six_broken_thresholds_stop_the_study_once_with_six_rows(
    six: Study, named: bool, order: str
) -> None:
    error, reported = stop(six, breaking, {site: site if named else "" for site in order})
    found = {(row.site, row.subset, row.rule, row.threshold) for row in error.rows}
    assert found == {
        (site, "t" if site == "f" else "train", one.rule, one.threshold)
        for site, refusals in BROKEN.items()
        for one in refusals
    }
    assert len(error.rows) == 6
    (table,) = [event for event in reported if event["kind"] == "not_enrolled"]
    assert len(table["rows"]) == 6
    refused = [event for event in reported if event["kind"] == "refused"]
    assert sorted(event["site"] for event in refused) == ["a", "b", "b", "b", "e", "f"]
    assert {e["site"] for e in reported if e["kind"] == "foretold"} == {"e", "f"}


def test_every_row_names_the_setting_and_the_role_that_would_let_the_site_in(six: Study) -> None:
    error, _ = stop(six, breaking, dict(zip("abcdef", "abcdef", strict=True)))
    remedy = {(row.site, row.rule): row.remedy for row in error.rows}
    assert "privacy.min_rows in study.toml, or no a in the roster" in remedy["a", "rows"]
    # a threshold that is not the study's is the hospital's own
    assert "privacy.min_class_per_fold in site.toml of b" in remedy["b", "fold_class"]
    assert "or trains = false for e" in remedy["e", "out_of_fold_rows"]
    own = "privacy.min_rows in site.toml of f, or no f in the test set t"
    assert own in remedy["f", "rows"]


def test_what_the_others_could_not_do_without_them_is_said(six: Study) -> None:
    error, _ = stop(six, breaking, dict(zip("abcdef", "abcdef", strict=True)))
    # e could still test, and f could still train if it did
    assert error.note == "without a, b, e, f, 2 sites would train, and masking takes 3"
    rows = [Obstacle("a", "w", "r", subset="train")]
    assert without(rows, six) == ""
    assert "no sites would hold t" in without([Obstacle(s, "w", "r") for s in "ef"], six)


def test_refusals_problems_and_sites_that_are_late_come_in_one_error(six: Study) -> None:
    study = six.model_copy(update={"waiting": WaitingSettings(enrol_seconds=0.2)})

    def mixed(site: str, study: Study) -> Any:
        return Problem("data", "0" * 8, site=site) if site == "c" else breaking(site, study)

    grid = Nodes(study, mixed, dict.fromkeys("abc", ""))
    with pytest.raises(ObstaclesError) as caught:
        Federation(grid=grid, study=study, run="r").enrol()
    assert [row.site for row in caught.value.rows] == ["a", "b", "b", "b", "c", "d", "e", "f"]
    words = {row.site: row.what for row in caught.value.rows}
    assert "cannot go on (data" in words["c"]
    assert words["f"] == "not enrolled in time"


def test_a_node_that_does_not_know_its_site_does_not_hold_up_the_others(six: Study) -> None:
    def unknown(site: str, study: Study) -> Any:
        return Problem("data", "0" * 8) if site == "c" else breaking(site, study)

    error, _ = stop(six, unknown, dict.fromkeys("abcdef", ""))
    assert [row.site for row in error.rows if not row.rule] == ["(node 4)"]
    assert len(error.rows) == 7


def test_the_screen_shows_the_table_with_names_and_remedies(six: Study, tmp_path: Path) -> None:
    events = Events(path=tmp_path / "events.jsonl")
    grid = Nodes(six, breaking, dict.fromkeys("abcdef", ""))
    screen = Console(width=200, record=True, file=io.StringIO())
    follower = Follower("six", tmp_path / "events.jsonl", screen)
    with pytest.raises(ObstaclesError):
        Federation(grid=grid, study=six, run="r", events=events).enrol()
    follower.poll()
    text = " ".join(screen.export_text().split())
    assert "b refuses: fold_class" in text
    assert "trains = false for e" in text
    assert "masking takes 3" in text
    assert "?" not in text
