"""The gate in a real deployment on this machine: SuperLink, two sites with `fedlnm-site run`."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import StartRunRequest
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor

from client.site import Deployment, load_site
from common.flower.app import FlowerApp, installed_app
from common.flower.programs import flower_environment
from common.study.model import Study, load_study, write_study
from common.utils.processes import BackgroundProgram, free_port, wait_until_ready
from sim.rehearsal import program
from sim.sites import place_sites, with_identities, write_site
from tests.attacks.egress.bundling import bundle

BIN = Path(sys.executable).parent
# asks both sites to enrol, then those that did for a sum, then for what is in no catalogue
SERVER = """
import json, time
from pathlib import Path
from flwr.app import Message
from flwr.serverapp import ServerApp
from common.messages.codec import decode, encode
from common.messages.exchanges import EnrolReply, EnrolRequest, SumItem, SumRequest
from common.statistics.moments import Means
from common.study.model import load_study
from common.transforms import Select
from common.transforms.views import table

app = ServerApp()

@app.main()
def main(grid, context):
    study = load_study(Path(str(context.run_config["study"])))
    while len(list(grid.get_node_ids())) < 2:
        time.sleep(0.5)
    heard = {}
    def ask(name, kind, request, nodes):
        messages = [Message(encode(request), node, kind) for node in nodes]
        replies = list(grid.send_and_receive(messages, timeout=60))
        heard[name] = [
            str(r.error) if r.has_error() else describe(decode(r.content)) for r in replies
        ]
        return {r.metadata.src_node_id: r for r in replies}
    def describe(reply):
        return [type(reply).__name__, getattr(reply, "kind", getattr(reply, "site", ""))]
    request = EnrolRequest(run="r", study=study.digest(), study_json=study.model_dump_json())
    replies = ask("enrol", "query.enrol", request, grid.get_node_ids())
    ready = [n for n, r in replies.items() if isinstance(decode(r.content), EnrolReply)]
    view = table("clinical").then(Select(columns=("age",)))
    item = SumItem(Means(), view, "train")
    keys = ()
    request = SumRequest(
        run="r", study=study.digest(), session="s", number=0, items=(item,), keys=keys
    )
    if ready:
        ask("sum", "query.sum", request, ready)
        ask("unknown", "query.everything", request, ready)
    Path(str(context.run_config["out"])).write_text(json.dumps(heard))
"""


@contextmanager
def started(command: list[Any], log: Path, environment: dict[str, str]) -> Iterator[None]:
    """A program in the background, stopped at the end with all that it started."""
    program = BackgroundProgram([str(part) for part in command], environment, log)
    program.start()
    try:
        yield
    finally:
        program.stop()


def environment_of(folder: Path, port: int) -> dict[str, str]:
    return {
        **flower_environment(folder / "flower-home"),
        "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(port),
        "OPENBLAS_NUM_THREADS": "1",
    }


def two_site_study(study: Study) -> Study:
    """Two sites are too few to mask: the study says so openly."""
    sets = tuple(t.model_copy(update={"sites": ("a", "b")}) for t in study.test_sets[:1])
    return study.model_copy(
        update={
            "sites": study.sites[:2],
            "test_sets": sets,
            "privacy": study.privacy.model_copy(update={"masking": "where_possible"}),
            # nor are rows of two sites pooled
            "fusion": study.fusion.model_copy(update={"pooling": "bins"}),
        }
    )


def submit(port: int, app: FlowerApp | bytes, config: dict[str, Any]) -> None:
    """Start a run as whoever runs a coordinator may: with any app, of any code."""
    content = app if isinstance(app, bytes) else app.content
    client = ControlHttpClient.from_server_address(
        f"127.0.0.1:{port}",
        insecure=True,
        root_certificates=None,
        interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr CLI")],
    )
    fab = fab_to_proto(Fab(hashlib.sha256(content).hexdigest(), content, {}))
    override = user_config_to_proto(config)
    assert client.StartRun(StartRunRequest(fab=fab, override_config=override)).HasField("run_id")
    client.close()


def heard(out: Path) -> Any:
    """Read the coordinator's notes."""
    deadline = time.monotonic() + 300
    while not out.is_file() and time.monotonic() < deadline:
        time.sleep(0.3)
    logs = [path.read_text(errors="replace")[-4000:] for path in out.parent.glob("*.log")]
    assert out.is_file(), "".join(logs)
    time.sleep(0.5)  # it is written in one piece, but not at once
    return json.loads(out.read_text())


@pytest.mark.slow
def test_only_the_release_and_approved_studies_are_answered_over_a_real_superlink(
    tabular: Path, tmp_path: Path
) -> None:
    """The coordinator runs code of its own, first out of its app and then under the release's."""
    own = tmp_path / "coordinator" / "server"
    own.mkdir(parents=True)
    (own / "__init__.py").touch()
    (own / "app.py").write_text(SERVER, encoding="utf-8")
    study = two_site_study(with_identities(load_study(tabular / "study.toml")))
    study_file = write_study(study, tmp_path / "study.toml")
    port = free_port()
    environment = environment_of(tmp_path, port)
    data = {name: tabular / name for name in ("a", "b")}
    sites = place_sites(data, tmp_path / "run", tmp_path / "cache", exclude_bad_patients=False)
    for site in sites.values():
        deployment = Deployment(superlink=f"127.0.0.1:{port}", port=free_port(), insecure=True)
        changes = {"approvals": "required", "deployment": deployment}
        write_site(site.parent, load_site(site).model_copy(update=changes))
    command = [*program("site"), "approve", study_file, "--site", sites["a"], "--yes"]  # not b
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    path = os.pathsep.join([str(own.parent), *filter(None, sys.path)])
    superlink = [BIN / "flower-superlink", "--insecure", "--isolation", "subprocess"]
    superlink += ["--host", "127.0.0.1", "--port", port]
    with ExitStack() as stack:
        link = BackgroundProgram(
            [str(p) for p in superlink], environment | {"PYTHONPATH": path}, tmp_path / "link.log"
        )
        stack.callback(link.stop)
        link.start()
        wait_until_ready(link, port)
        for name, site in sites.items():
            run = [*program("site"), "run", "--site", site]
            stack.enter_context(started(run, tmp_path / f"{name}.log", environment))
        app, first, second = installed_app(), tmp_path / "first.json", tmp_path / "second.json"
        code = {"server/__init__.py": b"", "server/app.py": SERVER.encode()}
        with_code = bundle({**app.files, **code})
        submit(port, with_code, {"study": str(study_file), "out": str(first)})
        assert heard(first)["enrol"] == [["Problem", "other_release"]] * 2
        for site in sites.values():
            assert "other_release" in (site.parent / "work" / "gate.log").read_text()
            assert not (site.parent / "work" / "flower" / "apps").exists()
        submit(port, app, {"study": str(study_file), "out": str(second)})
        answered = heard(second)
    assert sorted(answered["enrol"]) == [["EnrolReply", "a"], ["Problem", "study_not_approved"]]
    assert answered["sum"] == [["SumReply", "a"]]
    assert answered["unknown"] == [["Problem", "unknown_exchange"]]
    assert "study_not_approved" in (sites["b"].parent / "work" / "gate.log").read_text()
