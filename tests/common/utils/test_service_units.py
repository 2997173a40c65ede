"""Units for systemd: hardened, complete, and without what a folder's name could break."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from common.utils.service_units import (
    GRAPHICS_CARDS,
    NO_DEVICES,
    ServiceUnit,
    this_user,
    unit_name,
)

ANALYZE = shutil.which("systemd-analyze")
MOST_EXPOSED = 5.0
"""Exposure below which systemd-analyze says OK."""


def unit(root: Path, devices: str = NO_DEVICES) -> ServiceUnit:
    return ServiceUnit(
        file=unit_name(root),
        description="Hospital",
        program="fedlnm-site",
        arguments=("run", "--site", str(root)),
        user="research",
        root=root,
        devices=devices,
    )


def read(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    parser.read_string(text)
    return parser


def test_the_service_waits_for_the_network_comes_back_and_takes_the_proxy_from_a_file() -> None:
    found = read(unit(Path("/srv/qilu")).text())
    assert found["Unit"]["Wants"] == found["Unit"]["After"] == "network-online.target"
    service = found["Service"]
    assert (service["Restart"], service["RestartSec"]) == ("on-failure", "30")
    assert service["EnvironmentFile"] == "-/srv/qilu/proxy.env"
    assert service["ReadWritePaths"] == "/srv/qilu"
    assert service["ExecStart"].endswith("/fedlnm-site run --site /srv/qilu")
    assert found["Install"]["WantedBy"] == "multi-user.target"


def test_a_folder_with_a_space_stays_one_word() -> None:
    found = read(unit(Path("/srv/my hospital")).text())
    assert found["Service"]["ExecStart"].endswith('run --site "/srv/my hospital"')
    assert found["Service"]["ReadWritePaths"] == '"/srv/my hospital"'


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("devices", [NO_DEVICES, GRAPHICS_CARDS])
def test_systemd_calls_its_exposure_ok(tmp_path: Path, devices: str) -> None:
    made = unit(tmp_path, devices)
    file = tmp_path / made.file
    file.write_text(made.text(), encoding="utf-8")
    command = [str(ANALYZE), "security", "--offline=true", "--no-pager", str(file)]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", shown)
    assert found, shown
    assert float(found[1]) < MOST_EXPOSED


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker runs a container's user without an entry in its list of users; podman adds one."""
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    assert this_user() == str(2**31 - 7)
