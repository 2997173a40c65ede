"""A hospital sets itself up to take part: `fedlnm-site init`."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client.cli import app
from client.commands.init import join
from client.gate.supernode import command_line
from client.site import load_site
from common.errors import InputError, SignatureError
from common.masking import identity
from common.messages.joining import Invitation, JoinRequest
from server.deployment.authority import make_authority

COORDINATOR = identity.generate()


@pytest.fixture
def invitation() -> Invitation:
    return Invitation(
        address="hub.example:443",
        certificate=make_authority("hub.example").certificate.decode(),
        coordinator_key=identity.public_text(COORDINATOR.public_key()),
    ).signed_by(COORDINATOR)


def test_a_site_is_ready_to_connect(invitation: Invitation, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    made = join(folder, "qilu", invitation, port=9100)
    settings = load_site(folder / "site.toml")
    assert (settings.name, settings.approvals) == ("qilu", "required")
    assert settings.data == folder / "data"
    assert settings.deployment is not None
    assert settings.deployment.superlink == "hub.example:443"
    assert settings.deployment.port == 9100
    assert settings.deployment.coordinator_key == invitation.coordinator_key
    line = command_line(folder / "site.toml", settings)
    assert line[line.index("--auth-supernode-private-key") + 1] == str(folder / "keys" / "node")
    assert line[line.index("--root-certificates") + 1] == str(folder / "keys" / "coordinator.pem")
    request = JoinRequest.read(made.request_file)
    assert request.check() == made.fingerprint
    own = identity.load(settings.identity)
    assert request.identity_key == identity.public_text(own.private.public_key())
    assert own.warning == ""


def test_flower_takes_the_node_key(invitation: Invitation, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key
    from flwr.supercore.primitives.asymmetric import public_key_to_bytes, uses_nist_ec_curve

    from common.messages.joining import node_key_pem

    made = join(tmp_path / "site", "a", invitation, port=9100)
    key = load_ssh_private_key((tmp_path / "site" / "keys" / "node").read_bytes(), None)
    public = key.public_key()
    assert uses_nist_ec_curve(public)  # type: ignore[arg-type]
    sent = node_key_pem(JoinRequest.read(made.request_file).node_key)
    assert sent == public_key_to_bytes(public)  # type: ignore[arg-type]


def test_keys_are_for_the_owner_alone_and_not_in_the_request(
    invitation: Invitation, tmp_path: Path
) -> None:
    made = join(tmp_path / "site", "a", invitation, port=9100)
    modes = {path.stat().st_mode for path in (tmp_path / "site" / "keys").iterdir()}
    assert {stat.S_IMODE(mode) for mode in modes} == {0o600}
    assert b"PRIVATE" not in made.request_file.read_bytes()


def test_keys_are_never_overwritten(invitation: Invitation, tmp_path: Path) -> None:
    made = join(tmp_path / "site", "a", invitation, port=9100)
    before = made.request_file.read_bytes()
    with pytest.raises(InputError, match="never overwritten"):
        join(tmp_path / "site", "a", invitation, port=9100)
    assert made.request_file.read_bytes() == before


def test_a_changed_invitation_is_refused_before_anything_is_made(
    invitation: Invitation, tmp_path: Path
) -> None:
    forged = invitation.model_copy(update={"address": "evil.example:443"})
    with pytest.raises(SignatureError, match="invitation"):
        join(tmp_path / "site", "a", forged, port=9100)
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize("name", ["", "../a", "a b"])
def test_a_name_that_cannot_be_a_sites_is_refused_before_anything_is_made(
    name: str, invitation: Invitation, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="site"):
        join(tmp_path / "site", name, invitation, port=9100)
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("y\n", 0)])
def test_nothing_is_made_before_the_fingerprint_was_compared(
    answer: str, code: int, invitation: Invitation, tmp_path: Path
) -> None:
    file = tmp_path / "invitation.json"
    file.write_bytes(invitation.to_bytes())
    folder = tmp_path / "site"
    line = ["init", str(folder), "--name", "a", "--invitation", str(file)]
    done = CliRunner().invoke(app, line, input=answer)
    assert done.exit_code == code, done.output
    assert identity.fingerprint(COORDINATOR.public_key()) in done.output
    assert folder.exists() == (code == 0)
