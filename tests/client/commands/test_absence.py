"""`fedlnm-site approve --may-leave-after`: what a hospital reads, signs and hands over."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client.cli import app
from client.gate import approvals
from client.site import SiteSettings, load_site
from client.store.departures import consent_to
from client.store.ledger import ledger_path
from common.errors import InputError, SignatureError
from common.ledger.verify import read_entries, verify
from common.masking.absence import AbsentSite
from common.masking.agreement import roster_digest
from common.study.model import Study, load_study, write_study
from sim.sites import place_sites, simulated_identity, with_identities
from tests import builders

RUNNER = CliRunner()


@pytest.fixture
def site(tabular: Path) -> Path:
    placed = place_sites(
        {"c": tabular / "c"}, tabular / "run", tabular / "cache", exclude_bad_patients=False
    )
    return placed["c"]


@pytest.fixture
def settings(site: Path) -> SiteSettings:
    return load_site(site)


@pytest.fixture
def study(tabular: Path) -> Study:
    builders.amend(tabular / "study.toml", sites="abcd")
    return with_identities(load_study(tabular / "study.toml"))


@pytest.fixture
def study_file(study: Study, tmp_path: Path) -> Path:
    return write_study(study, tmp_path / "study.toml")


def approve(site: Path, study_file: Path, *more: str, answer: str = "y\n") -> str:
    command = ["approve", str(study_file), "--site", str(site), *more]
    done = RUNNER.invoke(app, command, input=answer)
    if isinstance(done.exception, InputError):
        raise done.exception
    return " ".join(done.output.split())


def written(site: Path) -> AbsentSite:
    read = tomllib.loads((site.parent / "c.may-leave-tabular.toml").read_text(encoding="utf-8"))
    (statement,) = read["left"]
    return AbsentSite.model_validate(statement)


def test_what_it_costs_is_read_before_it_is_signed_for_this_study_alone(
    site: Path, study_file: Path, study: Study
) -> None:
    shown = approve(site, study_file, "--may-leave-after", "30")
    for words in (
        "c may be left out of this study once it is away for long",
        "when it gave no sum for more than 30 days",
        "the coordinator cannot say so for them",
        "has c's OWN sums of this study",
        "The others cannot tell a dead machine from one that the coordinator keeps out",
        "cannot be taken back",
        "the consent goes to the coordinator with the next run of the study",
        f"send it: {site.parent}",
    ):
        assert words in shown
    consent = written(site)
    consent.verify()
    assert (consent.site, consent.days, consent.study) == ("c", 30, study.digest())
    assert consent.roster == roster_digest(study.roster)


def test_it_is_written_into_the_ledger(
    site: Path, study_file: Path, study: Study, settings: SiteSettings
) -> None:
    approve(site, study_file, "--may-leave-after", "30", "--yes")
    (entry,) = read_entries(ledger_path(settings.work))
    assert (entry.exchange, entry.decision, entry.study) == ("consent", "released", study.digest())
    assert verify(ledger_path(settings.work), simulated_identity("c").public_key()) == []


def test_the_consents_to_earlier_forms_of_the_study_stay_in_the_file(
    site: Path, study_file: Path, study: Study, tmp_path: Path
) -> None:
    later = study.model_copy(update={"endpoint": "another"})
    approve(site, study_file, "--may-leave-after", "30", "--yes")
    approve(site, write_study(later, tmp_path / "later.toml"), "--may-leave-after", "40", "--yes")
    approve(site, study_file, "--may-leave-after", "50", "--yes")
    text = (site.parent / "c.may-leave-tabular.toml").read_text(encoding="utf-8")
    found = [AbsentSite.model_validate(one) for one in tomllib.loads(text)["left"]]
    assert [(one.study, one.days) for one in found] == [(later.digest(), 40), (study.digest(), 50)]


def test_the_latest_consent_goes_with_the_enrolment_of_its_study_alone(
    site: Path, study_file: Path, study: Study, settings: SiteSettings
) -> None:
    assert consent_to(settings.work, study.digest()) is None
    for days in ("30", "50", "40"):
        approve(site, study_file, "--may-leave-after", days, "--yes")
    found = consent_to(settings.work, study.digest())
    assert found is not None
    assert found.days == 40 == written(site).days
    about = roster_digest(study.roster), study.digest()
    assert found.by("c", study.roster["c"], *about) == written(site)
    with pytest.raises(SignatureError):
        found.by("b", study.roster["b"], *about)
    assert consent_to(settings.work, "0" * 64) is None


@pytest.mark.parametrize(("more", "answer"), [((), "y\n"), (("--may-leave-after", "30"), "n\n")])
def test_nothing_is_signed_unless_it_is_asked_for_and_agreed_to(
    site: Path, study_file: Path, more: tuple[str, ...], answer: str, settings: SiteSettings
) -> None:
    approve(site, study_file, *more, answer=answer)
    assert not list(site.parent.glob("*.may-leave-*"))
    found = approvals.read_approvals(settings.work, simulated_identity("c").public_key())
    assert len(found) == (0 if more else 1)


def test_where_the_others_could_not_go_on_nothing_is_signed(
    site: Path, study_file: Path, tabular: Path
) -> None:
    builders.amend(tabular / "study.toml", sites="abc")
    three = with_identities(load_study(tabular / "study.toml"))
    write_study(three, study_file)
    with pytest.raises(InputError, match="the others could not go on without this hospital"):
        approve(site, study_file, "--may-leave-after", "30")


@pytest.mark.parametrize("days", ["6", "3651", "soon"])
def test_days_are_a_week_or_more(site: Path, study_file: Path, days: str) -> None:
    assert "--may-leave-after" in approve(site, study_file, "--may-leave-after", days)
    assert not list(site.parent.glob("*.may-leave-*"))
