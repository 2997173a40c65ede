"""Keys: there, private, of the right kind, and the ones that the study names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from client.check.finding import Finding
from client.check.keys import check_keys
from client.site import load_site
from client.store.site_db import FILE, site_db
from common.masking import identity
from common.study.model import Study, load_study


@pytest.fixture
def site(tmp_path: Path, tabular_master: Path, joined: Any, hub: Any) -> tuple[Path, Study]:
    folder = tmp_path / "a"
    deployment = hub().deployment(folder / "keys")
    return folder, joined(folder, "a", load_study(tabular_master / "study.toml"), deployment)


def found(site: tuple[Path, Study]) -> dict[str, Finding]:
    folder, study = site
    rows = check_keys(study, load_site(folder / "site.toml"))
    return {row.kind.removeprefix("keys."): row for row in rows}


def test_private_keys_that_the_study_names_pass(site: tuple[Path, Study]) -> None:
    assert {row.severity for row in found(site).values()} == {"ok"}


@pytest.mark.parametrize(("file", "kind"), [("identity.pem", "identity"), ("node", "node")])
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660])
def test_a_key_that_others_can_read_is_a_problem(
    site: tuple[Path, Study], file: str, kind: str, mode: int
) -> None:
    (site[0] / "keys" / file).chmod(mode)
    row = found(site)[kind]
    assert row.severity == "problem"
    assert f"mode {mode:04o}" in row.what
    assert row.remedy.startswith("chmod 600")


def test_the_memory_with_the_keys_of_runs_is_looked_at_too(site: tuple[Path, Study]) -> None:
    site_db(site[0] / "work").fix("roster", "r1", "{}")
    (site[0] / "work" / FILE).chmod(0o644)
    assert found(site)["others"].where == FILE


def test_another_key_in_the_roster_is_a_problem_with_the_right_one(
    site: tuple[Path, Study],
) -> None:
    folder, study = site
    other = identity.public_text(identity.generate().public_key())
    entries = tuple(s.model_copy(update={"public_key": other}) for s in study.sites)
    row = found((folder, study.model_copy(update={"sites": entries})))["identity"]
    own = identity.load(folder / "keys" / "identity.pem").private
    assert row.severity == "problem"
    assert identity.public_text(own.public_key()) in row.remedy


def test_a_study_without_keys_is_a_warning(site: tuple[Path, Study], tabular_master: Path) -> None:
    row = found((site[0], load_study(tabular_master / "study.toml")))["identity"]
    assert row.severity == "warning"


@pytest.mark.parametrize("content", [None, b"no key", b"ed25519"])
def test_a_node_key_that_flower_cannot_use_is_a_problem(
    site: tuple[Path, Study], content: bytes | None
) -> None:
    path = site[0] / "keys" / "node"
    if content is None:
        path.unlink()
    elif content == b"ed25519":
        key = Ed25519PrivateKey.generate()
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    else:
        path.write_bytes(content)
    row = found(site)["node"]
    assert row.severity == "problem"
    assert row.remedy.startswith("restore the folder keys from its backup")


def test_a_lost_identity_key_is_restored_or_the_site_is_let_go(site: tuple[Path, Study]) -> None:
    (site[0] / "keys" / "identity.pem").unlink()
    row = found(site)["identity"]
    assert row.severity == "problem"
    assert row.remedy.startswith("restore the folder keys from its backup")
    assert "fedlnm-site leave --lost-keys" in row.remedy


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_a_missing_or_damaged_authority_is_a_problem(
    site: tuple[Path, Study], content: bytes | None
) -> None:
    path = site[0] / "keys" / "coordinator.pem"
    path.unlink() if content is None else path.write_bytes(content)
    row = found(site)["others"]
    assert row.where == "coordinator.pem"
    assert "invitation.json" in row.remedy


def test_without_a_deployment_a_missing_key_is_not_yet_a_problem(
    tmp_path: Path, tabular_master: Path
) -> None:
    (tmp_path / "site.toml").write_text('name = "a"\n', encoding="utf-8")
    rows = found((tmp_path, load_study(tabular_master / "study.toml")))
    assert rows["identity"].severity == "not checked"
    assert rows["node"].severity == "not applicable"
