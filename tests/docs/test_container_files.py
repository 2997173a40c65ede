"""Files that run hospital and coordinator in containers, against the folders that `init` makes."""

from __future__ import annotations

import configparser
from pathlib import Path
from typing import Any

import pytest
import yaml

from sim.rehearsal import CONTAINER_USER
from tests.fixtures.programs import run_program

ROOT = Path(__file__).parents[2]
FILES = ROOT / "examples" / "container"
HUB = "/site/hub"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coordinator") / "hub"
    done = run_program("server", "init", folder, "--address", "localhost:19443")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return yaml.safe_load((FILES / "compose.yaml").read_text(encoding="utf-8"))["services"]


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """Return the paths inside by those beside compose.yaml."""
    return dict(one.split(":")[:2] for one in service["volumes"])


def test_compose_mounts_what_init_has_made_and_where_it_was_made(
    hub: Path, services: dict[str, Any]
) -> None:
    for service in services.values():
        for outside, inside in mounts(service).items():
            assert (hub.parent / outside).exists(), outside
            assert inside == outside.replace("./hub", HUB)
    folder = Path(services["proxy"]["command"][2])
    assert (hub / folder.relative_to(HUB) / "nginx.conf").is_file()


def test_the_proxy_sees_all_files_that_its_configuration_names_and_no_other_key(
    hub: Path, services: dict[str, Any]
) -> None:
    seen = [Path(outside) for outside in mounts(services["proxy"])]
    text = (hub / "nginx" / "fedlnm.conf").read_text(encoding="utf-8")
    named = {Path(word.rstrip(";")) for word in text.split() if word.startswith(str(hub))}
    assert len(named) == 3
    for path in named:
        beside = Path(path.relative_to(hub.parent))
        assert any(beside == one or one in beside.parents for one in seen), beside
    keys = [one for one in hub.rglob("*") if one.is_file() and one.parent.name == "keys"]
    assert [one.name for one in keys if Path(one.relative_to(hub.parent)) in seen] == ["server.key"]
    assert not [one for one in seen if one.name in ("keys", "hub")]


def test_the_coordinator_is_not_asked_whether_a_hospital_is_well(services: dict[str, Any]) -> None:
    assert services["coordinator"]["healthcheck"] == {"disable": True}


def test_the_user_of_the_image_is_the_hospitals_own_without_root() -> None:
    quadlet = configparser.ConfigParser(strict=False, interpolation=None)
    quadlet.read(FILES / "fedlnm-site.container", encoding="utf-8")
    own = quadlet["Container"]
    user = str(CONTAINER_USER)
    assert f"USER {user}:{user}" in (ROOT / "Containerfile").read_text(encoding="utf-8")
    assert own["User"] == own["Group"] == user
    assert own["UserNS"] == f"keep-id:uid={user},gid={user}"
    assert f"--userns={own['UserNS']}" in (ROOT / "docs" / "container.md").read_text(
        encoding="utf-8"
    )
