"""A study with keys, as hospitals approve it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import InputError
from common.masking import identity
from common.messages.joining import JoinRequest
from common.study.model import load_study
from server.deployment.folder import CoordinatorFolder
from server.deployment.preparing import find_prepared, prepare
from server.deployment.roster import enrol
from server.deployment.run_folder import find_run, new_run

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
    study = load_study(prepare(folder, study_file))
    assert study.roster == {name: r.identity_key for name, r in enrolled.items()}
    own = identity.load(folder.identity).private.public_key()
    assert study.coordinator_key == identity.public_text(own)


def test_the_study_is_all_that_hospitals_get(
    folder: CoordinatorFolder, enrolled: dict[str, JoinRequest], study_file: Path
) -> None:
    made = prepare(folder, study_file)
    assert made == folder.for_sites / "tabular" / "study.toml"
    assert list(made.parent.iterdir()) == [made]


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
    own = identity.generate()
    changed = JoinRequest(
        site="b",
        identity_key=identity.public_text(own.public_key()),
        node_key=enrolled["b"].node_key,
    ).signed_by(own)
    enrol(folder, changed, replace=True)
    with pytest.raises(InputError, match="keys of b"):
        find_prepared(folder, "tabular")


def test_a_study_that_was_not_prepared_is_told_of(folder: CoordinatorFolder) -> None:
    with pytest.raises(InputError, match="no study called larynx"):
        find_prepared(folder, "larynx")


def test_a_run_keeps_what_it_began_with(
    folder: CoordinatorFolder, enrolled: dict[str, JoinRequest], study_file: Path
) -> None:
    prepared = prepare(folder, study_file)
    run = new_run(folder, prepared)
    digest = run.study.digest()
    prepared.write_text("changed since", encoding="utf-8")
    assert find_run(folder, None).study.digest() == digest
    assert find_run(folder, run.name).path == run.path
    with pytest.raises(InputError, match="no run other"):
        find_run(folder, "other")
