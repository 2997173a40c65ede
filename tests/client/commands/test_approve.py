"""`fedlnm-site approve`: what a person reads before anything is answered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client.cli import app
from client.commands.approve import LEAVES, describe_study, dossier_path, print_lines
from client.gate import approvals
from client.site import load_site
from client.store.site_db import recall_study
from common.dossier import in_plain_words, study_dossier
from common.errors import InputError, UsageError
from common.flower.app import installed_app
from common.masking import identity
from common.messages.exchanges import CATALOGUE
from common.study.model import Study, load_study, write_study
from server.phases.program import declared_phases
from sim.sites import with_identities

RUNNER = CliRunner()


@pytest.fixture
def study(tabular: Path) -> Study:
    return with_identities(load_study(tabular / "study.toml"))


@pytest.fixture
def study_file(study: Study, tmp_path: Path) -> Path:
    return write_study(study, tmp_path / "study.toml")


def digests(site: Path) -> list[str]:
    settings = load_site(site)
    public = identity.load(settings.identity).private.public_key()
    return [one.digest for one in approvals.read_approvals(settings.work, public)]


def test_a_study_is_shown_in_plain_words_and_approved_on_yes(
    site: Path, study_file: Path, study: Study
) -> None:
    done = RUNNER.invoke(app, ["approve", str(study_file), "--site", str(site)], input="y\n")
    assert done.exit_code == 0, done.output
    for words in (study.endpoint, study.digest(), "marker, age, sex, stage", "guarded", "masked"):
        assert words in done.output
    for entry in study.sites:
        assert identity.fingerprint(identity.public_key(entry.public_key)) in done.output
    assert digests(site) == [study.digest()]
    assert recall_study(load_site(site).work, study.digest()) == study


@pytest.mark.parametrize("exchange", ["train.network", "query.sign", "query.open"])
def test_what_the_study_never_asks_is_said_not_to_be_used(study: Study, exchange: str) -> None:
    """Sums are signed and opened in rounds of networks with a quorum alone."""
    assert not study.networks
    (line,) = [one for one in describe_study(study, "a", study.privacy) if exchange in one]
    assert line.endswith("not used by this study")


def test_an_approval_says_what_answers_the_study(site: Path, study_file: Path) -> None:
    done = RUNNER.invoke(app, ["approve", str(study_file), "--site", str(site), "--yes"])
    assert f"fedlnm-site run --site {site}" in " ".join(done.output.split())


def test_the_dossiers_first_page_is_shown_and_all_of_it_can_be_read_before_the_answer(
    site: Path, study_file: Path, study: Study
) -> None:
    done = RUNNER.invoke(app, ["approve", str(study_file), "--site", str(site)], input="n\n")
    shown = " ".join(done.output.split())
    page = in_plain_words(study, declared_phases(study))
    assert "## What is not protected in this study" in page
    assert " ".join(page.split()) in shown
    path = dossier_path(load_site(site).work, study)
    assert f"dossier of this study: {path}" in done.output
    assert path.read_text(encoding="utf-8") == study_dossier(study, declared_phases(study))
    assert "what a hospital sends, phase by phase" not in shown.lower()


def test_the_whole_dossier_is_shown_when_asked_for(
    site: Path, study_file: Path, study: Study
) -> None:
    done = RUNNER.invoke(app, ["approve", str(study_file), "--site", str(site), "--dossier"])
    assert study_dossier(study, declared_phases(study)) in done.output
    assert done.output.index("# Privacy dossier") < done.output.index("approve this?")


def test_unusually_wide_networks_are_shown_before_the_answer(
    site: Path, study: Study, tmp_path: Path
) -> None:
    for widths, shown in (((64, 128, 256, 512), False), ((64, 128, 256, 513), True)):
        network = study.dl3d.model_copy(update={"widths": widths, "unusual": True})
        changes = {"base_models": ("clinical", "dl3d"), "dl3d": network}
        file = write_study(study.model_copy(update=changes), tmp_path / "wide.toml")
        done = RUNNER.invoke(app, ["approve", str(file), "--site", str(site)], input="n\n")
        assert "first layer 7 voxels wide" in done.output
        assert ("WIDER THAN IN ANY RELEASED PRESET" in done.output) is shown
        assert ("Unusually wide networks" in done.output) is shown


def test_a_dossier_is_a_studys(site: Path) -> None:
    done = RUNNER.invoke(app, ["approve", "--list", "--dossier", "--site", str(site)])
    assert isinstance(done.exception, UsageError)


def test_nothing_is_approved_on_no(site: Path, study_file: Path) -> None:
    done = RUNNER.invoke(app, ["approve", str(study_file), "--site", str(site)], input="n\n")
    assert done.exit_code == 1
    assert digests(site) == []


def test_an_app_cannot_be_approved(site: Path, tmp_path: Path) -> None:
    """Not even this release's own: there is nothing to approve in it."""
    (tmp_path / "fedlnm.fab").write_bytes(installed_app().content)
    done = RUNNER.invoke(
        app, ["approve", str(tmp_path / "fedlnm.fab"), "--site", str(site), "--yes"]
    )
    assert isinstance(done.exception, InputError)
    assert digests(site) == []


def test_a_study_that_could_change_what_is_shown_of_it_cannot_be_approved(
    site: Path, study: Study, tmp_path: Path
) -> None:
    forged = study.model_copy(update={"endpoint": "event\x1b[8m"})
    file = write_study(forged, tmp_path / "study.toml")
    done = RUNNER.invoke(app, ["approve", str(file), "--site", str(site), "--yes"])
    assert "endpoint: holds characters that do not print (U+001B)" in str(done.exception)
    assert digests(site) == []


def test_what_is_shown_of_a_study_is_spelled_out_all_the_same(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    forged = study.model_copy(update={"endpoint": "event\x1b[8m\nmasking: required"})
    print_lines(describe_study(forged, "a", None))
    shown = capsys.readouterr().out
    assert "predicts: event\\x1b[8m\\nmasking: required" in shown
    assert "\x1b" not in shown


def test_approvals_are_listed_and_taken_back(site: Path, study_file: Path, study: Study) -> None:
    RUNNER.invoke(app, ["approve", str(study_file), "--site", str(site), "--yes"])
    listed = RUNNER.invoke(app, ["approve", "--list", "--json", "--site", str(site)])
    (entry,) = json.loads(listed.stdout)
    assert (entry["digest"], entry["name"]) == (study.digest(), study.name)
    done = RUNNER.invoke(app, ["approve", "--revoke", entry["digest"][:10], "--site", str(site)])
    assert done.exit_code == 0
    assert digests(site) == []


def test_a_study_without_this_site_or_with_another_key_cannot_be_approved(
    site: Path, study: Study, tmp_path: Path
) -> None:
    others = study.model_copy(update={"sites": study.sites[1:], "test_sets": ()})
    sites = (study.sites[0].model_copy(update={"public_key": study.sites[1].public_key}),)
    swapped = study.model_copy(update={"sites": sites + study.sites[1:]})
    for wrong, words in ((others, "no site a"), (swapped, "another key")):
        file = write_study(wrong, tmp_path / "wrong.toml")
        done = RUNNER.invoke(app, ["approve", str(file), "--site", str(site), "--yes"])
        assert isinstance(done.exception, InputError)
        assert words in str(done.exception)
    assert digests(site) == []


def approve(site: Path, study: Study, folder: Path, *more: str) -> str:
    file = write_study(study, folder / "asked.toml")
    done = RUNNER.invoke(app, ["approve", str(file), "--site", str(site), *more])
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def test_whom_to_call_is_named_until_their_keys_are_known(
    site: Path, study: Study, tmp_path: Path
) -> None:
    assert "CALL b, c, each at a number that you know already" in approve(
        site, study, tmp_path, "--yes"
    )
    key = identity.public_text(identity.generate().public_key())
    other = study.sites[1].model_copy(update={"public_key": key})
    sites = (study.sites[0], other, *study.sites[2:])
    shown = approve(site, study.model_copy(update={"sites": sites}), tmp_path, "--yes")
    assert "CALL b, each at a number that you know already" in shown
    assert "with the key that was approved here before: c" in shown


def test_what_changed_since_the_last_approval_is_shown_first_and_alone_with_diff(
    site: Path, study: Study, tmp_path: Path
) -> None:
    assert "was approved here before" in approve(site, study, tmp_path, "--diff")
    approve(site, study, tmp_path, "--yes")
    assert "nothing has changed" in approve(site, study, tmp_path, "--diff")
    privacy = study.privacy.model_copy(update={"min_rows": study.privacy.min_rows + 1})
    changed = study.model_copy(update={"privacy": privacy, "endpoint": "another"})
    shown = approve(site, changed, tmp_path, "--diff")
    assert f"CHANGED since {study.name} was approved here" in shown
    assert f"privacy.min_rows: {study.privacy.min_rows}, now {privacy.min_rows}" in shown
    assert "what leaves this hospital" not in shown
    assert digests(site) == [study.digest()], "--diff approves nothing"
    assert "endpoint: " in approve(site, changed, tmp_path, "--yes")


@pytest.mark.parametrize("arguments", [[], ["study.toml", "--list"], ["--list", "--diff"]])
def test_approve_does_one_thing_at_a_time(site: Path, arguments: list[str]) -> None:
    done = RUNNER.invoke(app, ["approve", *arguments, "--site", str(site)])
    assert isinstance(done.exception, UsageError)


def test_what_leaves_is_told_for_every_exchange_and_threshold(study: Study) -> None:
    assert set(LEAVES) == set(CATALOGUE)
    expected = "\n".join(describe_study(study, "a", None))
    for exchange in CATALOGUE:
        assert exchange in expected


def test_sums_in_the_clear_are_called_so(study: Study) -> None:
    privacy = study.privacy.model_copy(update={"masking": "off"})
    expected = describe_study(study.model_copy(update={"privacy": privacy}), "a", None)
    assert "in the CLEAR: train, internal" in "\n".join(expected)


def test_run_needs_a_deployment(site: Path) -> None:
    done = RUNNER.invoke(app, ["run", "--site", str(site)])
    assert "not set up to take part" in str(done.exception)


@pytest.mark.parametrize(("own", "expected"), [("required", True), ("off", False)])
def test_a_study_that_sends_in_the_clear_what_this_site_wants_masked_is_called_so(
    site: Path, study: Study, tmp_path: Path, own: str, expected: bool
) -> None:
    with site.open("a", encoding="utf-8") as file:
        file.write(f'\n[privacy]\nmasking = "{own}"\n')
    privacy = study.privacy.model_copy(update={"masking": "off"})
    path = write_study(study.model_copy(update={"privacy": privacy}), tmp_path / "open.toml")
    done = RUNNER.invoke(app, ["approve", str(path), "--site", str(site)], input="n\n")
    shown = " ".join(done.output.split())
    words = "WOULD REFUSE IT, approved or not: rule masking, threshold 1, training patients"
    assert (words in shown) == expected
