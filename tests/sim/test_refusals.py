"""Sites that break six thresholds stop a study once, at enrolment, with six rows; then it runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tomli_w

from client.site import SiteSettings, load_site
from client.store.site_db import REFUSED, SiteDb
from client.workspace import open_workspace
from common.errors import InputError
from common.study.model import load_study, write_study
from server.progress.events import read_events
from sim.jobs import Job, Outcome, run_job
from sim.sites import find_sites, place_coordinator, place_sites, with_identities
from tests import builders
from tests.conftest import write_tabular_hospital
from tests.fixtures.programs import run_simulation

NAMES = "abcdef"
# of 50 training patients 20 are positive; folds of 10 have 4 of them; f alone holds a test set
LIMITS = {
    "a": ("min_rows", 50, "rows", "train"),
    "b": ("min_per_class", 20, "class", "train"),
    "c": ("min_rows_per_fold", 10, "fold", "train"),
    "d": ("min_class_per_fold", 4, "fold_class", "train"),
    "e": ("min_oof_rows", 50, "out_of_fold_rows", "train"),
    "f": ("min_cell", 3, "cells", "external_1"),
}


@pytest.fixture
def hospitals(tmp_path: Path) -> Path:
    for name in NAMES:
        write_tabular_hospital(tmp_path / name, name, 50, 15, 30 if name == "f" else 0)
    sets = {"internal": ("internal_test", "abc"), "external_1": ("external_test", "f")}
    overrides = {**builders.TABULAR, "sites": NAMES, "tests": sets}
    builders.study_file(tmp_path / "study.toml", **overrides)
    return tmp_path


def ask_for(hospitals: Path, more: int) -> None:
    """Give each hospital's own site.toml one threshold, so much above what it just reaches."""
    for name, (setting, limit, _, _) in LIMITS.items():
        own = {"name": name, "privacy": {setting: limit + more}}
        (hospitals / name / "site.toml").write_text(tomli_w.dumps(own), encoding="utf-8")


def run_here(hospitals: Path, out: Path) -> Outcome:
    """The server's and the sites' apps as in a deployment: nobody looks at the sites before."""
    study = load_study(hospitals / "study.toml")
    data = find_sites([hospitals / name for name in NAMES], study)
    sites = place_sites(data, out, hospitals / "cache", exclude_bad_patients=False)
    file = write_study(with_identities(study), out / "input" / "study.toml")
    key = place_coordinator(out / "input")
    return run_job(Job("federated", file, sites, out, identity=key))


def broken() -> set[tuple[str, str, str, float]]:
    return {(n, subset, rule, limit + 1) for n, (_, limit, rule, subset) in LIMITS.items()}


def test_six_broken_thresholds_stop_a_deployed_study_once_at_enrolment(hospitals: Path) -> None:
    ask_for(hospitals, 1)
    out = hospitals / "run"
    outcome = run_here(hospitals, out)
    assert outcome.exit_code == 1
    assert {(r.site, r.subset, r.rule, r.threshold) for r in outcome.rows} == broken()
    assert len(outcome.rows) == 6
    events = list(read_events(out / "events.jsonl"))
    assert {event["phase"] for event in events if event["kind"] == "phase"} == {"enrolment"}
    assert {event.get("site", "") for event in events if event["kind"] == "refused"} == set(NAMES)

    # what was refused at enrolment counts for nothing: at its limits every site takes part
    ask_for(hospitals, 0)
    open_workspace.cache_clear()  # a deployed site answers in a new process
    assert run_here(hospitals, out).error == ""
    events = list(read_events(out / "events.jsonl"))
    assert len([event for event in events if event["kind"] == "refused"]) == 6
    for name in NAMES:
        settings = load_site(out / "sites" / name / "site.toml")
        study = load_study(out / "input" / "study.toml")
        assert not SiteDb(settings.work).questions(study.digest(), REFUSED)


def test_six_broken_thresholds_stop_a_simulation_once_before_it_begins(hospitals: Path) -> None:
    ask_for(hospitals, 1)
    cache = hospitals / "cache"
    done = run_simulation(hospitals, NAMES, hospitals / "run", "--cache", cache, "--json")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    rows = json.loads(done.stdout)["not_enrolled"]["rows"]
    assert {(r["site"], r["subset"], r["rule"], r["threshold"]) for r in rows} == broken()
    assert len(rows) == 6
    for row in rows:
        assert f"privacy.{LIMITS[row['site']][0]} in site.toml of {row['site']}" in row["remedy"]
    assert "Who cannot take part, and why" in done.stderr
    assert not (hospitals / "run" / "events.jsonl").exists()


def test_what_counts_forbid_is_refused_before_an_image_is_prepared(
    imaging_master: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[str] = []

    def not_now(patients: object, settings: SiteSettings, *_: object) -> None:
        prepared.append(settings.name)
        raise InputError("prepared in vain")

    monkeypatch.setattr("client.imaging.prepared.prepare_images", not_now)
    study = load_study(imaging_master / "study.toml")
    strict = study.privacy.model_copy(update={"min_rows": 1000})
    out = tmp_path / "run"
    data = find_sites([imaging_master / name for name in study.site_names], study)
    sites = place_sites(data, out, tmp_path / "cache", exclude_bad_patients=False)
    file = write_study(
        with_identities(study.model_copy(update={"privacy": strict})), out / "input" / "study.toml"
    )
    key = place_coordinator(out / "input")
    outcome = run_job(Job("federated", file, sites, out, identity=key))
    assert {row.site for row in outcome.rows if row.rule == "rows"} == set(study.training_sites)
    assert set(prepared) == set(study.site_names) - set(study.training_sites)
