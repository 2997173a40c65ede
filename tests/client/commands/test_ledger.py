"""`fedlnm-site ledger` and `fedlnm-server audit`: readable, and honest in their exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.store.ledger import Ledger
from common.errors import InputError
from common.ledger.chain import head_path
from common.ledger.entry import Record
from common.ledger.verify import named_key
from common.masking import identity
from tests import builders
from tests.fixtures.programs import run_program

KEYS = {name: Ed25519PrivateKey.generate() for name in ("a", "b", "c")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run with three sites' ledgers of four entries."""
    for name, private in KEYS.items():
        site = tmp_path / "sites" / name
        ledger = Ledger(site / "work", private)
        for number in range(3):
            ledger.append(builders.record(number))
        ledger.append(Record(run="r1", exchange="query.rows", decision="refused", reason="class"))
        (site / "site.toml").write_text(f'name = "{name}"\n', encoding="utf-8")
    sites = [
        {"name": name, "public_key": identity.public_text(key.public_key())}
        for name, key in KEYS.items()
    ]
    builders.study_file(tmp_path / "study.toml", sites=sites)
    return tmp_path


def edit(folder: Path, name: str) -> Path:
    path = folder / "sites" / name / "work" / "ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"rows":45', b'"rows":46', 1))
    return path


def test_show_tells_when_what_how_many_and_the_decision(folder: Path) -> None:
    done = run_program("client", "ledger", "show", folder / "sites" / "a")
    assert done.returncode == 0, done.stderr
    words = " ".join(done.stdout.split())
    for expected in ("a: 4 entries", "query.sum", "45 (18+)", "3 sites", "4321", "refused: class"):
        assert expected in words, done.stdout


def test_show_gives_the_latest_as_json(folder: Path) -> None:
    site = folder / "sites" / "a" / "site.toml"
    done = run_program("client", "ledger", "show", "--site", site, "--last", 2, "--json")
    assert [entry["number"] for entry in json.loads(done.stdout)] == [3, 4]


def test_show_without_a_site_is_wrong_usage() -> None:
    done = run_program("client", "ledger", "show")
    assert done.returncode == 2
    assert "which site" in done.stderr


def test_verify_passes_an_intact_ledger_and_says_whose_key_it_took(folder: Path) -> None:
    path = folder / "sites" / "a" / "work" / "ledger.jsonl"
    public = KEYS["a"].public_key()
    done = run_program("client", "ledger", "verify", path)
    assert (done.returncode, done.stdout) == (0, "intact\n")
    assert identity.fingerprint(public) in done.stderr
    done = run_program("client", "ledger", "verify", path, "--key", identity.public_text(public))
    assert (done.returncode, done.stdout, done.stderr) == (0, "intact\n", "")


def test_verify_names_the_line_that_was_edited(folder: Path) -> None:
    path = edit(folder, "a")
    done = run_program("client", "ledger", "verify", path)
    assert done.returncode == 1
    assert "line 1: edited" in done.stdout
    done = run_program("client", "ledger", "verify", path, "--json")
    assert done.returncode == 1
    assert [(f["line"], f["kind"]) for f in json.loads(done.stdout)] == [(1, "edited")]


def test_verify_does_not_take_another_sites_key(folder: Path) -> None:
    path = folder / "sites" / "a" / "work" / "ledger.jsonl"
    other = identity.public_text(KEYS["b"].public_key())
    done = run_program("client", "ledger", "verify", path, "--key", other)
    assert done.returncode == 1
    assert "no entry is signed by this key" in done.stdout


def test_verify_of_no_file_says_that_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nono: no such ledger -> give a ledger\.jsonl"):
        named_key(tmp_path / "nono")


def test_audit_passes_ledgers_that_agree(folder: Path) -> None:
    done = run_program("server", "audit", folder, "--study", folder / "study.toml")
    assert (done.returncode, done.stdout) == (0, "12 entries of 3 sites: they agree\n"), done.stderr
    assert done.stderr == ""


def test_audit_finds_an_edit_a_cut_and_a_foreign_key(folder: Path) -> None:
    edit(folder, "a")
    work = folder / "sites" / "b" / "work"
    (work / "ledger.jsonl").write_bytes(b"")
    work = folder / "sites" / "c" / "work"
    foreign = Ledger(folder / "foreign", Ed25519PrivateKey.generate())
    foreign.append(builders.record(0))
    for path in (foreign.path, head_path(foreign.path)):
        shutil.copy(path, work / path.name)
    done = run_program("server", "audit", folder, "--study", folder / "study.toml", "--json")
    assert done.returncode == 1
    findings = json.loads(done.stdout)["findings"]
    assert any(f.startswith("site a: line 1: edited") for f in findings)
    assert any(f.startswith("site b: the end was cut off") for f in findings)
    assert any(f.startswith("site c: no entry is signed by this key") for f in findings)
    assert any("b has no entry about train for this and 2 more" in f for f in findings)


def test_audit_misses_no_site_of_the_study(folder: Path) -> None:
    (folder / "sites" / "c" / "work" / "ledger.jsonl").unlink()
    done = run_program("server", "audit", folder, "--study", folder / "study.toml")
    assert done.returncode == 1
    assert "site c: no ledger" in done.stdout


def test_audit_without_ledgers_says_where_to_put_them(tmp_path: Path) -> None:
    done = run_program("server", "audit", tmp_path)
    assert done.returncode == 1
    assert "sites/NAME" in done.stderr
