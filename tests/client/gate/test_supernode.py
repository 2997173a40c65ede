"""The gate in Flower's SuperNode: put in place, started, and ended."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flwr.supernode import start_client_internal as flower
from pydantic import ValidationError

from client.gate import supernode
from client.gate.loopback import loopback_of
from client.gate.site_gate import SiteGate
from client.site import Deployment, SiteSettings, load_site
from common.errors import StudyError

INSECURE = Deployment(superlink="127.0.0.1:8000", insecure=True)


def test_the_gate_is_in_place_inside_and_out_again_after() -> None:
    names = ("_pull_and_store_message", "_verify_fab", "_push_messages")
    before = [getattr(flower, name) for name in names]
    with supernode.GatedNode(SiteGate(SiteSettings(name="a"))).installed():
        inside: list[Callable[..., Any]] = [getattr(flower, name) for name in names]
        assert all(new is not old for new, old in zip(inside, before, strict=True))
    assert [getattr(flower, name) for name in names] == before


def test_flowers_arguments_come_from_site_toml(tmp_path: Path) -> None:
    from flwr.supernode.cli.flower_supernode import _parse_args_run_supernode

    (tmp_path / "site.toml").write_text(
        'name = "a"\n[deployment]\nsuperlink = "hub.example:443"\nport = 9100\n'
        'root_certificates = "ca.pem"\nnode_key = "keys/node"\n'
    )
    settings = load_site(tmp_path / "site.toml")
    command = supernode.command_line(tmp_path / "site.toml", settings)
    parsed = _parse_args_run_supernode().parse_args(command[1:])
    assert parsed.superlink == "hub.example:443"
    assert parsed.root_certificates == str(tmp_path / "ca.pem")
    assert parsed.auth_supernode_private_key == str(tmp_path / "keys" / "node")
    assert parsed.isolation == "process"
    assert (parsed.host, parsed.port) == ("127.0.0.1", 9100)
    loopback = loopback_of(settings)
    assert (parsed.ssl_certfile, parsed.ssl_keyfile) == (
        str(loopback.certificate),
        str(loopback.key),
    )
    assert parsed.superexec_auth_secret_file == str(loopback.secret)
    assert not parsed.insecure
    assert not parsed.runtime_dependency_install
    assert str(tmp_path / "site.toml") in parsed.node_config


@pytest.mark.parametrize(
    "settings",
    [
        SiteSettings(name="a"),
        SiteSettings(name="a", deployment=INSECURE, approvals="open"),
    ],
)
def test_a_site_without_deployment_or_approvals_does_not_start(settings: SiteSettings) -> None:
    with pytest.raises(StudyError, match="not set up"):
        supernode.command_line(Path("site.toml"), settings)


@pytest.mark.parametrize(
    "values",
    [
        {"superlink": "hub.example:443", "insecure": True},
        {"superlink": "hub.example:443"},
        {"superlink": "https://hub.example/", "node_key": "k"},
    ],
)
def test_a_deployment_is_secured_unless_it_stays_on_this_machine(values: Any) -> None:
    with pytest.raises(ValidationError):
        Deployment(**values)


@pytest.mark.parametrize(
    ("last", "code"), [("pass", 0), ("sys.exit(3)", 3), ("raise RuntimeError", 1)]
)
def test_the_process_ends_with_flowers_loop_though_other_threads_go_on(
    last: str, code: int
) -> None:
    script = (
        "import sys, threading, time\n"
        "from common.utils.processes import end_with_this_thread\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        f"def loop():\n    {last}\n"
        "end_with_this_thread(loop)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], timeout=120, check=False)
    assert done.returncode == code
