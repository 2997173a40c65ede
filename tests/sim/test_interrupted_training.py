"""A study that is stopped anywhere goes on where it was, and ends the same to the last bit."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Message

from client.app import app
from client.store.site_db import FILE
from client.workspace import open_workspace
from common.study.model import load_study, write_study
from server.app import run_configured_study
from server.commands.audit import audit_run
from server.progress.events import Events, read_events
from sim.engines.inprocess import SERVER_NODE, InProcessGrid, task_identity
from sim.sites import place_coordinator, place_sites, with_identities

WEIGHTS = "arrays.safetensors"
HOSPITALS = ("north", "south", "west", "harbour")
# ends of the lives of one run: the kind of reply that is never handed on, and which of its kind
BEFORE_NETWORKS = (
    ("query.sum", 2),  # Table 1
    ("query.sum", 30),  # in the middle of the clinical model, all of which is asked again
)
IN_NETWORKS = (
    ("train.network", 2),  # the second site of the first round
    ("train.network", 1),  # before anything new was put by
    ("train.network", 4),  # the first site of the second round
    ("train.network", 6),  # sites are keeping the features of the first fold
    ("train.network", 15),
    ("evaluate.handout", 3),
)


class Stopped(BaseException):
    """The coordinator's machine is gone."""


class MortalGrid(InProcessGrid):
    """Dies instead of handing on the n-th reply of a kind."""

    def __init__(self, sites: Mapping[str, Path], kind: str, number: int) -> None:
        super().__init__(app, sites)
        self._kind, self._left = kind, number

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        for reply in super().pull_messages(message_ids):
            if reply.metadata.message_type == self._kind:
                self._left -= 1
                if not self._left:
                    raise Stopped
            yield reply


@pytest.fixture
def server_identity() -> Iterator[None]:
    with task_identity(SERVER_NODE):
        yield


NETWORKS: dict[str, dict[str, Any]] = {
    "averaged": {"average_last": 0.7, "transfer_bits": 8},
    # each carries something from round to round at the sites, and on the server
    "scaffold": {"strategy": "scaffold", "select": "best", "average_last": 0.0},
    "fedbn": {"strategy": "fedbn", "select": "best", "patience": 1, "transfer_bits": 16},
    "fedadam": {"strategy": "fedadam", "average_last": 0.0},
}


@pytest.fixture(scope="module", params=NETWORKS)
def study_file(
    request: pytest.FixtureRequest, imaging_master: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Clinical model and one network, three rounds at most."""
    study = with_identities(load_study(imaging_master / "study.toml"))
    network = study.dl3d.model_copy(update={"rounds": 3, **NETWORKS[request.param]})
    changes = {
        "base_models": ("clinical", "dl3d"),
        "fusion_models": (),
        "folds": 3,
        "dl3d": network,
        # choosing the best round takes one more fold of the three from the training
        "privacy": study.privacy.model_copy(update={"min_rows": 6}),
    }
    folder = tmp_path_factory.mktemp("study")
    return write_study(study.model_copy(update=changes), folder / "study.toml")


def start(study: Path, data: Path, cache: Path, out: Path, kind: str = "", number: int = 0) -> Any:
    """Start or resume the run in `out`; what it finds."""
    open_workspace.cache_clear()
    folders = {name: data / name for name in HOSPITALS}
    sites = place_sites(folders, out, cache, exclude_bad_patients=False)
    config = {
        "study": str(study),
        "out": str(out),
        "label": "federated",
        "identity": str(place_coordinator(out.parent / "input")),
    }
    grid = MortalGrid(sites, kind, number)
    return run_configured_study(grid, config, Events(out / "events.jsonl"))


def comparable(tree: dict[str, Any]) -> str:
    """Drop times and durations, and bytes of keys and answers that are sent once more."""
    kept = {key: tree[key] for key in tree if key not in ("run", "timing")}
    return json.dumps({**kept, "transfers": without_repeats(tree)})


def without_repeats(tree: dict[str, Any]) -> list[dict[str, Any]]:
    """Drop bytes that a resumed run sends once more, and those that say who derives.

    The latter are of the ledger's end in a key, and of a hospital's audit of its own releases.
    """
    told = ("enrolment", "evaluation")
    return [
        {
            key: value
            for key, value in row.items()
            if key != "bytes_down" and (key != "bytes_up" or row["phase"] not in told)
        }
        for row in tree["transfers"]
    ]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def gradients(out: Path) -> dict[str, list[Any]]:
    found = {}
    for path in sorted((out / "sites").rglob(FILE)):
        with sqlite3.connect(path) as connection:
            sql = "SELECT kind, question FROM questions WHERE kind LIKE 'gradient/%' ORDER BY 1, 2"
            found[str(path.relative_to(out))] = connection.execute(sql).fetchall()
    return {name: asked for name, asked in found.items() if asked}


@pytest.fixture(scope="module")
def undisturbed(
    study_file: Path,
    imaging_master: Path,
    imaging_cache: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    out.mkdir()
    with task_identity(SERVER_NODE):
        return out, start(study_file, imaging_master, imaging_cache, out)


def stops_of(study: Path) -> tuple[tuple[str, int], ...]:
    """Return when the run is stopped; what is before the networks does not ask how they train."""
    is_averaged = load_study(study).dl3d.strategy == "fedavg"
    return (*(BEFORE_NETWORKS if is_averaged else ()), *IN_NETWORKS)


@pytest.fixture(scope="module")
def disturbed(
    study_file: Path,
    imaging_master: Path,
    imaging_cache: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("disturbed") / "run"
    out.mkdir()
    with task_identity(SERVER_NODE):
        for kind, number in stops_of(study_file):
            with pytest.raises(Stopped):
                start(study_file, imaging_master, imaging_cache, out, kind, number)
        return out, start(study_file, imaging_master, imaging_cache, out)


def test_results_are_the_same_to_the_last_bit(
    undisturbed: tuple[Path, dict[str, Any]], disturbed: tuple[Path, dict[str, Any]]
) -> None:
    assert comparable(disturbed[1]) == comparable(undisturbed[1])


def test_weights_and_models_are_the_same_to_the_last_bit(
    undisturbed: tuple[Path, dict[str, Any]], disturbed: tuple[Path, dict[str, Any]]
) -> None:
    bundles = [files(out / "bundle") for out, _ in (undisturbed, disturbed)]
    assert WEIGHTS in bundles[0]
    assert bundles[0] == bundles[1]


def test_a_training_goes_on_at_the_round_it_was_at(
    study_file: Path, disturbed: tuple[Path, dict[str, Any]]
) -> None:
    events = list(read_events(disturbed[0] / "events.jsonl"))
    rounds = [(e["variant"], e["round"]) for e in events if e["kind"] == "round"]
    names = ("fold0", "fold1", "fold2", "final")
    last = {name: max(number for own, number in rounds if own == name) for name in names}
    wanted = [(name, number) for name in names for number in range(1, last[name] + 1)]
    assert rounds == wanted
    if load_study(study_file).dl3d.select == "last":
        assert set(last.values()) == {3}
    kinds = [e["kind"] for e in events if e["kind"] in ("started", "resumed")]
    # the first life, or two, had put nothing by before it
    stops = stops_of(study_file)
    begun = 2 if stops[:1] == BEFORE_NETWORKS[:1] else 1
    assert kinds == ["started"] * begun + ["resumed"] * (len(stops) + 1 - begun)


def test_nothing_is_kept_of_the_rounds_of_a_finished_training(
    disturbed: tuple[Path, dict[str, Any]],
) -> None:
    names = {path.name for path in (disturbed[0] / "checkpoint").iterdir()}
    assert "dl3d-final.safetensors" in names
    assert not any("rounds" in name or "part" in name for name in names)


def test_a_gradient_that_is_asked_again_counts_once_at_the_sites(
    undisturbed: tuple[Path, dict[str, Any]], disturbed: tuple[Path, dict[str, Any]]
) -> None:
    once, again = (gradients(out) for out, _ in (undisturbed, disturbed))
    assert len(once) == 3
    assert all(once.values())
    assert once == again


def test_the_ledgers_of_an_interrupted_run_agree(disturbed: tuple[Path, dict[str, Any]]) -> None:
    report = audit_run(disturbed[0], None)
    assert report.findings == ()
    assert all(report.entries.values())


# the strategy that carries most from round to round, at the sites and on the server
@pytest.mark.parametrize("study_file", ["fedbn"], indirect=True)
def test_a_killed_run_goes_on_and_ends_the_same(
    undisturbed: tuple[Path, dict[str, Any]],
    study_file: Path,
    imaging_master: Path,
    imaging_cache: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "sim", "run", str(study_file), "--sites"]
    command += [str(imaging_master / name) for name in HOSPITALS]
    command += ["--out", str(out), "--cache", str(imaging_cache)]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and not any(
            event["kind"] == "round" for event in read_events(out / "events.jsonl")
        ):
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    tree = json.loads((out / "run.json").read_text(encoding="utf-8"))
    ours = json.loads(json.dumps(undisturbed[1]))
    assert without_repeats(tree) == without_repeats(ours)
    for part in ("performance", "training", "selection"):
        assert tree[part] == ours[part], part
    networks = [files(run / "bundle")[WEIGHTS] for run in (out, undisturbed[0])]
    assert networks[0] == networks[1]
