"""`fedlnm-site confirm`: the word of a hospital that another one lost its keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from client.cli import app
from client.site import SiteSettings, load_site
from client.store.ledger import ledger_path
from common.errors import InputError, StudyError
from common.ledger.verify import read_entries
from common.masking import identity
from common.masking.lost_keys import LetGoSite, as_text, read_requests
from sim.sites import place_sites

NEW, LOST = identity.generate(), identity.generate()
ROSTER = "ab" * 32


@pytest.fixture
def site(tabular: Path) -> Path:
    placed = place_sites(
        {"c": tabular / "c"}, tabular / "run", tabular / "cache", exclude_bad_patients=False
    )
    return placed["c"]


@pytest.fixture
def settings(site: Path) -> SiteSettings:
    return load_site(site)


def asked(path: Path, site: str = "d") -> Path:
    lost = identity.public_text(LOST.public_key())
    path.write_text(as_text([LetGoSite.sign(NEW, site, lost, ROSTER)]), encoding="utf-8")
    return path


def confirm(site: Path, file: Path, out: Path, answer: str = "y\n") -> str:
    command = ["confirm", str(file), "--site", str(site), "--out", str(out)]
    done = CliRunner().invoke(app, command, input=answer)
    if isinstance(done.exception, StudyError):
        raise done.exception
    assert done.exit_code == (0 if out.exists() else 1), done.output
    return " ".join(done.output.split())


def test_whom_to_call_and_what_it_opens_is_read_before_it_is_signed(
    site: Path, settings: SiteSettings, tmp_path: Path
) -> None:
    out = tmp_path / "c.confirms.toml"
    shown = confirm(site, asked(tmp_path / "left.toml"), out)
    assert f"fingerprint of its new key: {identity.fingerprint(NEW.public_key())}" in shown
    assert "CALL d, at a number that you know already" in shown
    assert "its own sums may be found by subtraction" in shown
    (request,) = read_requests(out)
    request.verify()
    (own,) = request.confirmations
    key = identity.load(settings.identity).private.public_key()
    assert (own.site, own.public_key) == ("c", identity.public_text(key))
    (entry,) = read_entries(ledger_path(settings.work))
    assert (entry.exchange, entry.decision) == ("confirm", "released")


def test_nothing_is_signed_on_no(site: Path, settings: SiteSettings, tmp_path: Path) -> None:
    out = tmp_path / "c.confirms.toml"
    assert "not confirmed" in confirm(site, asked(tmp_path / "left.toml"), out, "n\n")
    assert not out.exists()
    assert not ledger_path(settings.work).exists()


def test_a_hospital_cannot_confirm_its_own_key(site: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot confirm its own new key"):
        confirm(site, asked(tmp_path / "left.toml", "c"), tmp_path / "out.toml")


def test_a_request_that_was_changed_is_not_confirmed(site: Path, tmp_path: Path) -> None:
    file = asked(tmp_path / "left.toml")
    file.write_text(file.read_text().replace(ROSTER, "cd" * 32))
    with pytest.raises(StudyError, match="its request to be let go is not one that it signed"):
        confirm(site, file, tmp_path / "out.toml")


@pytest.mark.parametrize("text", ["", "left = []", "left = [{ site = 1 }]"])
def test_a_file_without_a_request_is_named(site: Path, tmp_path: Path, text: str) -> None:
    file = tmp_path / "left.toml"
    file.write_text(text)
    with pytest.raises(InputError, match="no request of a hospital that lost its keys"):
        confirm(site, file, tmp_path / "out.toml")
