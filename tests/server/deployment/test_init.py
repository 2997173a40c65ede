"""A coordinator's folder is made once, and its certificate renewed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from common.errors import InputError
from common.masking import identity
from common.messages.joining import Invitation
from server.deployment.folder import CoordinatorFolder, CoordinatorSettings
from server.deployment.init import check_certificate, make_coordinator, renew


def test_key_files_are_for_the_owner_alone(folder: CoordinatorFolder) -> None:
    keys = sorted(folder.keys.iterdir())
    assert [key.name for key in keys] == [
        "authority.key",
        "identity.pem",
        "server.key",
        "superexec.secret",
    ]
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
    assert stat.S_IMODE(folder.keys.stat().st_mode) == 0o700


def test_the_unit_for_systemd_runs_the_study_that_it_is_started_with(
    folder: CoordinatorFolder,
) -> None:
    (unit,) = folder.root.glob("fedlnm-*@.service")
    text = unit.read_text(encoding="utf-8")
    assert f"fedlnm-server run {folder.root} %i" in text
    assert "Restart=on-abnormal" in text
    assert f"enable --now {unit.name.replace('@.', '@STUDY.')}" in text


def test_no_key_is_in_what_is_sent_to_sites(folder: CoordinatorFolder) -> None:
    sent = b"".join(path.read_bytes() for path in folder.for_sites.rglob("*") if path.is_file())
    assert b"PRIVATE" not in sent
    invitation = Invitation.read(folder.invitation)
    public = identity.load(folder.identity).private.public_key()
    assert invitation.check() == identity.fingerprint(public)
    assert invitation.address == "hub.example:443"


def test_keys_are_never_overwritten(folder: CoordinatorFolder) -> None:
    before = folder.identity.read_bytes()
    with pytest.raises(InputError, match="never overwritten"):
        make_coordinator(folder.root, CoordinatorSettings(address="other.example:443"))
    assert folder.identity.read_bytes() == before


def test_renewing_changes_the_servers_certificate_and_not_what_sites_trust(
    folder: CoordinatorFolder,
) -> None:
    before = folder.server_certificate.read_bytes()
    authority = folder.authority.read_bytes()
    renew(folder)
    assert folder.server_certificate.read_bytes() != before
    assert folder.authority.read_bytes() == authority


def amend(folder: CoordinatorFolder, before: str, after: str) -> None:
    text = folder.settings_file.read_text(encoding="utf-8")
    assert before in text
    folder.settings_file.write_text(text.replace(before, after), encoding="utf-8")


def test_renewing_takes_a_new_address_over(folder: CoordinatorFolder) -> None:
    amend(folder, "hub.example:443", "new.example:8443")
    renew(folder)
    assert Invitation.read(folder.invitation).address == "new.example:8443"
    assert "listen 8443 ssl" in (folder.proxy / "fedlnm.conf").read_text(encoding="utf-8")


def test_without_the_authoritys_key_a_port_changes_and_a_new_certificate_is_not_made(
    folder: CoordinatorFolder,
) -> None:
    before = folder.server_certificate.read_bytes()
    folder.authority_key.rename(folder.root / "kept elsewhere")
    amend(folder, "status_port = 0", "status_port = 4711")
    assert not renew(folder)
    assert folder.server_certificate.read_bytes() == before
    assert "127.0.0.1:4711" in (folder.proxy / "fedlnm.conf").read_text(encoding="utf-8")
    amend(folder, "hub.example:443", "new.example:443")
    with pytest.raises(InputError, match="bring it back"):
        renew(folder)


def test_a_certificate_that_ends_soon_needs_the_authoritys_key(folder: CoordinatorFolder) -> None:
    assert renew(folder, days=20)
    folder.authority_key.unlink()
    with pytest.raises(InputError, match="bring it back"):
        renew(folder)


@pytest.mark.parametrize(("days", "words"), [(397, ""), (20, "expires in")])
def test_a_certificate_about_to_expire_is_told_of(
    folder: CoordinatorFolder, days: int, words: str
) -> None:
    renew(folder, days=days)
    warning = check_certificate(folder)
    assert warning == "" if not words else words in warning


def test_nothing_runs_on_an_expired_certificate(folder: CoordinatorFolder) -> None:
    renew(folder, days=-1)
    with pytest.raises(InputError, match="has expired -> fedlnm-server renew"):
        check_certificate(folder)


def test_another_folder_is_not_taken_for_a_coordinators(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no coordinator\.toml"):
        CoordinatorFolder(tmp_path).settings()


def test_a_slip_in_the_settings_is_named(folder: CoordinatorFolder) -> None:
    folder.settings_file.write_text('adress = "hub.example:443"\n', encoding="utf-8")
    with pytest.raises(InputError, match='did you mean "address"'):
        folder.settings()
