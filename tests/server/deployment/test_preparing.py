"""A study with keys, as hospitals approve it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from common.errors import InputError
from common.masking import identity
from common.masking.agreement import roster_digest
from common.masking.leaving import LeftSite
from common.messages.joining import JoinRequest
from common.study.model import load_study
from server.cli import app
from server.deployment.folder import CoordinatorFolder
from server.deployment.preparing import find_prepared, prepare
from server.deployment.roster import enrol
from server.deployment.run_folder import RunFolder, find_run, new_run, unfinished_run
from server.deployment.supervisor import Supervisor
from tests import builders

Joiner = Callable[[str], JoinRequest]


@pytest.fixture
def enrolled(folder: CoordinatorFolder, request_of: Joiner) -> dict[str, JoinRequest]:
    requests = {name: request_of(name) for name in ("a", "b", "c")}
    for request in requests.values():
        enrol(folder, request, replace=False)
    return requests


@pytest.fixture
def study_file(tabular_master: Path) -> Path:
    return tabular_master / "study.toml"


def test_the_study_gets_everybodys_keys(
    folder: CoordinatorFolder, enrolled: dict[str, JoinRequest], study_file: Path
) -> None:
    study = load_study(prepare(folder, study_file).file)
    assert study.roster == {name: r.identity_key for name, r in enrolled.items()}
    own = identity.load(folder.identity).private.public_key()
    assert study.coordinator_key == identity.public_text(own)


def test_the_study_is_all_that_hospitals_get(
    folder: CoordinatorFolder, enrolled: dict[str, JoinRequest], study_file: Path
) -> None:
    made = prepare(folder, study_file).file
    assert made == folder.for_sites / "tabular" / "study.toml"
    assert list(made.parent.iterdir()) == [made]


def test_a_second_preparation_says_that_all_approve_again_and_what_changed(
    folder: CoordinatorFolder,
    enrolled: dict[str, JoinRequest],
    study_file: Path,
    tmp_path: Path,
) -> None:
    own = shutil.copy(study_file, tmp_path / "study.toml")
    command = ["prepare", str(folder.root), str(own)]
    assert "approves again" not in CliRunner().invoke(app, command).output
    assert "approves again" not in CliRunner().invoke(app, command).output
    builders.amend(own, endpoint="another")
    shown = CliRunner().invoke(app, command).output
    assert "study tabular was prepared before: every hospital approves again" in shown
    assert "  this changed: endpoint: " in shown


@pytest.mark.parametrize(("summed", "warned"), [(True, True), (False, False)])
def test_sums_that_a_run_on_disk_lets_hospitals_refuse_are_foretold(
    folder: CoordinatorFolder,
    request_of: Joiner,
    enrolled: dict[str, JoinRequest],
    study_file: Path,
    tmp_path: Path,
    summed: bool,
    warned: bool,
) -> None:
    enrol(folder, request_of("d"), replace=False)
    own = shutil.copy(study_file, tmp_path / "study.toml")
    builders.amend(own, sites=[{"name": name} for name in "abcd"])
    run = new_run(folder, prepare(folder, own).file)
    kind = "query.sum" if summed else "query.enrol"
    run.events_file.write_text(
        json.dumps({"time": 1, "kind": "contact", "site": "a", "exchange": kind}) + "\n"
    )
    shown = CliRunner().invoke(app, ["prepare", str(folder.root), str(study_file)]).output
    words = f"training patients would be refused: run {run.name} gave them already"
    assert (words in shown) == warned
    assert ("asked without d (rule participants)" in shown) == warned
    assert "would be refused" not in "".join(prepare(folder, own).foretold), "the same as before"


def test_a_hospital_with_new_keys_is_foretold_to_be_another_hospital(
    folder: CoordinatorFolder,
    request_of: Joiner,
    enrolled: dict[str, JoinRequest],
    study_file: Path,
) -> None:
    run = new_run(folder, prepare(folder, study_file).file)
    run.events_file.write_text(
        '{"time": 1, "kind": "contact", "site": "a", "exchange": "query.sum"}\n'
    )
    node = ec.generate_private_key(ec.SECP384R1())
    enrol(folder, JoinRequest.make("b", identity.generate(), node), replace=True)
    foretold = "".join(prepare(folder, study_file).foretold)
    assert "without b under its former key and with b besides (rule participants)" in foretold


def test_a_hospital_that_signed_that_it_left_stands_in_no_ones_way(
    folder: CoordinatorFolder,
    request_of: Joiner,
    enrolled: dict[str, JoinRequest],
    study_file: Path,
    tmp_path: Path,
) -> None:
    enrol(folder, request_of("d"), replace=False)
    own = shutil.copy(study_file, tmp_path / "study.toml")
    builders.amend(own, sites=[{"name": name} for name in "abcd"])
    before = prepare(folder, own)
    run = new_run(folder, before.file)
    run.events_file.write_text(
        '{"time": 1, "kind": "contact", "site": "a", "exchange": "query.sum"}\n'
    )
    key = identity.load(tmp_path / "sites" / "d" / "keys" / "identity.pem").private
    left = LeftSite.sign(key, "d", roster_digest(before.study.roster))
    builders.amend(own, sites=[{"name": n} for n in "abc"], left=[left.model_dump()])
    assert prepare(folder, own).foretold == ()


def test_a_site_that_has_not_joined_is_named(
    folder: CoordinatorFolder, request_of: Joiner, study_file: Path
) -> None:
    enrol(folder, request_of("a"), replace=False)
    with pytest.raises(InputError, match="not enrolled: b, c"):
        prepare(folder, study_file)


def test_a_study_with_another_key_of_a_site_is_refused(
    folder: CoordinatorFolder,
    enrolled: dict[str, JoinRequest],
    study_file: Path,
    tmp_path: Path,
) -> None:
    other = identity.public_text(identity.generate().public_key())
    text = study_file.read_text(encoding="utf-8")
    own = tmp_path / "study.toml"
    own.write_text(text.replace('{ name = "a" }', f'{{ name = "a", public_key = "{other}" }}'))
    with pytest.raises(InputError, match="another key for site a"):
        prepare(folder, own)


def test_a_study_prepared_before_a_site_changed_its_keys_does_not_run(
    folder: CoordinatorFolder, enrolled: dict[str, JoinRequest], study_file: Path
) -> None:
    prepare(folder, study_file)
    assert find_prepared(folder, "tabular")
    node = ec.generate_private_key(ec.SECP384R1())
    enrol(folder, JoinRequest.make("b", identity.generate(), node), replace=True)
    with pytest.raises(InputError, match="keys of b"):
        find_prepared(folder, "tabular")


def test_a_run_that_is_not_finished_goes_on_and_any_other_stays(
    folder: CoordinatorFolder,
    enrolled: dict[str, JoinRequest],
    study_file: Path,
    tmp_path: Path,
) -> None:
    prepared = prepare(folder, study_file).file
    assert unfinished_run(folder, prepared) is None
    first = new_run(folder, prepared)
    assert unfinished_run(folder, prepared) == first
    first.events_file.write_text('{"time": 1, "kind": "failed", "message": "no reply"}\n')
    assert unfinished_run(folder, prepared) == first, "what stopped goes on too"
    with first.events_file.open("a") as file:
        file.write('{"time": 2, "kind": "finished"}\n')
    assert unfinished_run(folder, prepared) is None
    own = shutil.copy(study_file, tmp_path / "study.toml")
    builders.amend(own, endpoint="another")
    (first.path / "events.jsonl").unlink()
    assert unfinished_run(folder, prepare(folder, own).file) is None, "of another study"


def test_a_service_that_starts_with_the_machine_begins_no_other_run_of_a_study_that_is_done(
    folder: CoordinatorFolder,
    enrolled: dict[str, JoinRequest],
    study_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[RunFolder] = []
    monkeypatch.setattr(Supervisor, "supervise", lambda own, *_: begun.append(own.run))
    run = new_run(folder, prepare(folder, study_file).file)
    command = ["run", str(folder.root), "tabular", "--once"]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert begun == [run], "what was interrupted goes on"
    run.events_file.write_text('{"time": 2, "kind": "finished"}\n')
    done = CliRunner().invoke(app, command)
    assert (done.exit_code, begun) == (0, [run])
    assert f"run {run.name} of this study is finished; another one: --new" in done.output
    (unit,) = folder.root.glob("*.service")
    assert f"fedlnm-server run {folder.root} %i --once\n" in unit.read_text()


def test_a_study_that_was_not_prepared_is_told_of(folder: CoordinatorFolder) -> None:
    with pytest.raises(InputError, match="no study called larynx"):
        find_prepared(folder, "larynx")


def test_a_run_keeps_what_it_began_with(
    folder: CoordinatorFolder, enrolled: dict[str, JoinRequest], study_file: Path
) -> None:
    prepared = prepare(folder, study_file).file
    run = new_run(folder, prepared)
    digest = run.study.digest()
    prepared.write_text("changed since", encoding="utf-8")
    assert find_run(folder, None).study.digest() == digest
    assert find_run(folder, run.name).path == run.path
    with pytest.raises(InputError, match="no run other"):
        find_run(folder, "other")
