"""The gate in a real deployment on this machine: SuperLink, two sites with `fedlnm-site run`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from client.site import Deployment, load_site
from common.study.model import Study, load_study, write_study
from common.utils.flower_settings import flower_environment
from common.utils.processes import BackgroundProgram, free_port, wait_until_ready
from sim.identities import with_identities
from sim.sites import place_sites, write_site

BIN = Path(sys.executable).parent
# asks both sites to enrol, then the one that did for a sum, then for what is in no catalogue
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
    told = {}
    def ask(name, kind, request, nodes):
        messages = [Message(encode(request), node, kind) for node in nodes]
        replies = list(grid.send_and_receive(messages, timeout=60))
        told[name] = [
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
    ask("sum", "query.sum", request, ready)
    ask("unknown", "query.everything", request, ready)
    Path(str(context.run_config["out"])).write_text(json.dumps(told))
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
        }
    )


@pytest.mark.slow
def test_only_approved_things_are_answered_over_a_real_superlink(
    tabular: Path, app_folder: Path, tmp_path: Path
) -> None:
    app = tmp_path / "fedlnm"
    shutil.copytree(app_folder, app)
    (app / "server" / "app.py").write_text(SERVER, encoding="utf-8")
    port = free_port()
    environment = environment_of(tmp_path, port)
    subprocess.run([BIN / "flwr", "build", "--app", app], cwd=app, check=True, capture_output=True)
    (built,) = app.glob("*.fab")
    fab = built.rename(tmp_path / "app.fab")
    study = two_site_study(with_identities(load_study(tabular / "study.toml")))
    study_file = write_study(study, tmp_path / "study.toml")
    data = {name: tabular / name for name in ("a", "b")}
    sites = place_sites(data, tmp_path / "run", tmp_path / "cache", exclude_bad_patients=False)
    for site in sites.values():
        deployment = Deployment(superlink=f"127.0.0.1:{port}", port=free_port(), insecure=True)
        changes = {"approvals": "required", "deployment": deployment}
        write_site(site.parent, load_site(site).model_copy(update=changes))
    for site, what in (("a", study_file), ("a", fab), ("b", study_file)):  # b: not the app
        command = [BIN / "fedlnm-site", "approve", what, "--site", sites[site], "--yes"]
        subprocess.run(command, check=True, capture_output=True)
    out = tmp_path / "told.json"
    superlink = [BIN / "flower-superlink", "--insecure", "--isolation", "subprocess"]
    superlink += ["--host", "127.0.0.1", "--port", str(port)]
    with ExitStack() as stack:
        link = BackgroundProgram([str(p) for p in superlink], environment, tmp_path / "link.log")
        stack.callback(link.stop)
        link.start()
        wait_until_ready(link, port)
        for name, site in sites.items():
            run = [BIN / "fedlnm-site", "run", "--site", site]
            stack.enter_context(started(run, tmp_path / f"{name}.log", environment))
        config = f'study="{study_file}" out="{out}"'
        command = [BIN / "flwr", "run", app, "--run-config", config]
        subprocess.run(command, env=environment, check=True, capture_output=True, cwd=app)
        deadline = time.monotonic() + 90
        while not out.is_file() and time.monotonic() < deadline:
            time.sleep(0.3)
    logs = "".join(path.read_text(errors="replace")[-4000:] for path in tmp_path.glob("*.log"))
    assert out.is_file(), logs
    told = json.loads(out.read_text())
    assert sorted(told["enrol"]) == [["EnrolReply", "a"], ["Problem", "app_not_approved"]], logs
    assert told["sum"] == [["SumReply", "a"]], logs
    assert told["unknown"] == [["Problem", "unknown_exchange"]], logs
    assert "app_not_approved" in (sites["b"].parent / "work" / "gate.log").read_text()
    assert not (sites["b"].parent / "work" / "flower" / "apps").exists()
