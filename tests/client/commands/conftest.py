"""A hospital that joined a coordinator, as `fedlnm-site init` makes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from client.commands.init import join
from client.site import SiteSettings, load_site
from common.masking import identity
from common.messages.joining import Invitation
from common.utils.processes import free_port
from server.deployment.authority import make_authority


@pytest.fixture
def joined_site() -> Callable[[Path], SiteSettings]:
    """Make a site's folder; return its settings."""

    def make(folder: Path) -> SiteSettings:
        own = identity.generate()
        invitation = Invitation(
            address="hub.example:443",
            certificate=make_authority("hub.example").certificate.decode(),
            coordinator_key=identity.public_text(own.public_key()),
        ).signed_by(own)
        join(folder, folder.name, invitation, port=free_port())
        return load_site(folder / "site.toml")

    return make
