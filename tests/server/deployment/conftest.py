"""A coordinator's folder, and requests of sites that want to join it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from client.commands.init import join
from common.messages.joining import Invitation, JoinRequest
from server.deployment.folder import CoordinatorFolder, CoordinatorSettings
from server.deployment.init import make_coordinator

Joiner = Callable[[str], JoinRequest]


@pytest.fixture
def folder(tmp_path: Path) -> CoordinatorFolder:
    return make_coordinator(
        tmp_path / "hub", CoordinatorSettings(address="hub.example:443", port=8000)
    )


@pytest.fixture
def request_of(folder: CoordinatorFolder, tmp_path: Path) -> Joiner:
    """Set a site up and return what it would send."""

    def make(name: str) -> JoinRequest:
        invitation = Invitation.read(folder.invitation)
        made = join(tmp_path / "sites" / name, name, invitation, port=9094)
        return JoinRequest.read(made.request_file)

    return make
