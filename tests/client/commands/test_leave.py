"""`fedlnm-site leave`: what a hospital reads before it leaves, and what it then hands over."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client.cli import app
from client.gate import approvals
from client.site import SiteSettings, load_site
from client.store.ledger import ledger_path
from client.store.masks import Rosters
from common.errors import InputError
from common.ledger.verify import read_entries, verify
from common.masking import identity
from common.masking.agreement import roster_digest
from common.masking.leaving import LeftSite
from common.study.model import Study, load_study, parse_study, write_study
from sim.sites import place_sites, simulated_identity, with_identities
from tests import builders

RUNNER = CliRunner()


@pytest.fixture
def site(tabular: Path) -> Path:
    placed = place_sites(
        {"c": tabular / "c"}, tabular / "run", tabular / "cache", exclude_bad_patients=False
    )
    text = placed["c"].read_text(encoding="utf-8")
    placed["c"].write_text(text.replace('"open"', '"required"'), encoding="utf-8")
    return placed["c"]


@pytest.fixture
def settings(site: Path) -> SiteSettings:
    return load_site(site)


@pytest.fixture
def study(tabular: Path) -> Study:
    return with_identities(load_study(tabular / "study.toml"))


@pytest.fixture
def study_file(study: Study, tmp_path: Path) -> Path:
    return write_study(study, tmp_path / "study.toml")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "left.toml"


def written(out: Path) -> list[LeftSite]:
    read = tomllib.loads(out.read_text(encoding="utf-8"))
    return [LeftSite.model_validate(one) for one in read["left"]]


def leave(site: Path, study_file: Path, out: Path, *more: str, answer: str = "") -> str:
    command = ["leave", str(study_file), "--site", str(site), "--out", str(out), *more]
    done = RUNNER.invoke(app, command, input=answer)
    if isinstance(done.exception, InputError):
        raise done.exception
    assert done.exit_code == (0 if out.exists() else 1), done.output
    return done.output


def test_what_leaving_means_is_read_before_it_is_signed(
    site: Path, study_file: Path, study: Study, out: Path
) -> None:
    reported = leave(site, study_file, out, answer="y\n")
    for words in (
        "c leaves the study tabular",
        "The hospitals that stay: a, b.",
        "has this hospital's OWN numbers",
        "can be single patients",
        "cannot be taken back",
        "Who is only away for a while needs no statement",
    ):
        assert words in reported
    (statement,) = written(out)
    statement.verify()
    assert statement.site == "c"
    assert statement.public_key == study.roster["c"]
    assert statement.roster == roster_digest(study.roster)


def test_what_leaving_means_is_printed_line_by_line(
    site: Path, study_file: Path, out: Path
) -> None:
    reported = leave(site, study_file, out, answer="n\n").splitlines()
    assert "What this means:" in reported
    assert "  No image, no row and no identifier leaves with the statement." in reported
    assert not any("\\n" in line or "\\x0a" in line for line in reported)


def test_nothing_is_signed_on_no(
    site: Path, study_file: Path, out: Path, settings: SiteSettings
) -> None:
    assert "not left" in leave(site, study_file, out, answer="n\n")
    assert not out.exists()
    assert not ledger_path(settings.work).exists()


def test_what_is_handed_over_fits_at_the_end_of_a_study_file(
    site: Path, study_file: Path, out: Path, tabular: Path
) -> None:
    leave(site, study_file, out, "--yes")
    builders.amend(tabular / "study.toml", sites="ab", tests={"internal": ("internal_test", "ab")})
    text = (tabular / "study.toml").read_text(encoding="utf-8")
    assert parse_study(text + out.read_text(encoding="utf-8")).left == tuple(written(out))


def test_leaving_is_written_into_the_ledger(
    site: Path, study_file: Path, study: Study, out: Path, settings: SiteSettings
) -> None:
    leave(site, study_file, out, "--yes")
    (entry,) = read_entries(ledger_path(settings.work))
    assert (entry.exchange, entry.decision, entry.study) == ("leave", "released", study.digest())
    assert entry.size == out.stat().st_size
    assert verify(ledger_path(settings.work), simulated_identity("c").public_key()) == []
    shown = RUNNER.invoke(app, ["ledger", "show", str(site.parent)])
    assert shown.exit_code == 0, shown.output


def test_who_has_left_answers_no_study_of_these_hospitals_any_more(
    site: Path, study_file: Path, study: Study, out: Path, settings: SiteSettings, tmp_path: Path
) -> None:
    same = study.model_copy(update={"name": "same-hospitals"})
    fewer = study.model_copy(update={"sites": study.sites[1:], "test_sets": ()})
    files = [study_file]
    files += [write_study(one, tmp_path / f"{n}.toml") for n, one in enumerate((same, fewer))]
    for file in files:
        done = RUNNER.invoke(app, ["approve", str(file), "--site", str(site), "--yes"])
        assert done.exit_code == 0, done.output
    reported = leave(site, study_file, out, "--yes")
    assert "no longer approved: study same-hospitals" in reported
    found = approvals.read_approvals(settings.work, simulated_identity("c").public_key())
    assert [one.digest for one in found] == [fewer.digest()]


def test_who_saw_others_leave_signs_for_their_roster_too(
    site: Path, study: Study, out: Path, settings: SiteSettings, tmp_path: Path
) -> None:
    gone, stranger = identity.generate(), identity.generate()
    before = {**study.roster, "d": identity.public_text(gone.public_key())}
    Rosters(settings.work).keep(before)
    left = (
        LeftSite.sign(gone, "d", roster_digest(before)),
        LeftSite.sign(stranger, "e", "0" * 64),  # of a roster that this site was never on
    )
    file = write_study(study.model_copy(update={"left": left}), tmp_path / "later.toml")
    leave(site, file, out, "--yes")
    assert [one.roster for one in written(out)] == [
        roster_digest(study.roster),
        roster_digest(before),
    ]


def test_a_site_can_only_take_itself_out(
    site: Path, study: Study, out: Path, tmp_path: Path
) -> None:
    other = study.model_copy(
        update={"sites": (*study.sites[:2], study.sites[2].model_copy(update={"public_key": ""}))}
    )
    without = study.model_copy(update={"sites": study.sites[:2], "test_sets": ()})
    for wrong in (other, without):
        file = write_study(wrong, tmp_path / "wrong.toml")
        with pytest.raises(InputError, match="no site c with this site's identity key"):
            leave(site, file, out, "--yes")


def test_no_file_is_written_over(site: Path, study_file: Path) -> None:
    before = study_file.read_bytes()
    with pytest.raises(InputError, match="there is such a file"):
        leave(site, study_file, study_file, "--yes")
    assert study_file.read_bytes() == before
