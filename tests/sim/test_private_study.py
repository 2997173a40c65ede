"""A study with differential privacy, whole: what it costs stands in ledger, results and report."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from opacus.accountants import RDPAccountant

from client.data.cohort import assign_folds, read_cohort
from client.site import load_site
from client.store.ledger import ledger_path
from client.store.patient_budget import PatientBudget
from client.store.privacy_budget import Spending
from client.store.site_db import SiteDb
from common.ledger.verify import readable_entries
from common.study.model import load_study, write_study
from common.study.private_training import DifferentialPrivacy
from server.app import run_configured_study
from server.progress.events import Events
from server.report.study_report import write_outputs
from sim.engines.inprocess import SERVER_NODE, InProcessGrid, task_identity
from sim.sites import place_coordinator, place_sites, with_identities

HOSPITALS = ("north", "south", "west", "harbour")
DELTA = 1e-4


@pytest.fixture(scope="module")
def run(
    imaging_master: Path, imaging_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    from client.app import app

    out = tmp_path_factory.mktemp("private")
    study = with_identities(load_study(imaging_master / "study.toml"))
    changes = {
        "base_models": ("clinical", "dl3d"),
        "fusion_models": (),
        "folds": 3,
        "dl3d": study.dl3d.model_copy(update={"rounds": 2, "norm": "group"}),
        "differential_privacy": DifferentialPrivacy(noise_multiplier=1.5, delta=DELTA),
    }
    file = write_study(study.model_copy(update=changes), out / "study.toml")
    folders = {name: imaging_master / name for name in HOSPITALS}
    sites = place_sites(folders, out / "run", imaging_cache, exclude_bad_patients=False)
    config = {
        "study": str(file),
        "out": str(out / "run"),
        "label": "federated",
        "identity": str(place_coordinator(out / "input")),
    }
    with task_identity(SERVER_NODE):
        grid = InProcessGrid(app, sites)
        tree = run_configured_study(grid, config, Events(out / "run" / "events.jsonl"))
    return out / "run", tree


def work(out: Path, site: str) -> Path:
    return next((out / "sites" / site).rglob("ledger.jsonl")).parent


def by_hand(out: Path, site: str) -> float:
    """Return the result of Opacus' own accountant over all steps."""
    accountant = RDPAccountant()
    run = next((work(out, site) / "runs").iterdir()).name
    for one in SiteDb(work(out, site)).spendings(run):
        for _ in range(one.steps):
            accountant.step(noise_multiplier=one.noise_multiplier, sample_rate=one.sample_rate)
    return float(accountant.get_epsilon(DELTA))


def test_epsilon_is_that_of_opacus_and_stands_in_the_results(
    run: tuple[Path, dict[str, Any]],
) -> None:
    out, tree = run
    rows = {row["site"]: row for row in tree["privacy"]}
    assert set(rows) == {"north", "south", "west"}
    for site, row in rows.items():
        assert row["epsilon"] == pytest.approx(by_hand(out, site), abs=1e-9)
        assert row["epsilon"] > 0.1
        assert (row["delta"], row["noise_multiplier"]) == (DELTA, 1.5)


def test_every_training_in_the_ledger_says_what_was_spent_so_far(
    run: tuple[Path, dict[str, Any]],
) -> None:
    out, tree = run
    for row in tree["privacy"]:
        entries = readable_entries(ledger_path(work(out, row["site"])))
        spent = [entry.epsilon for entry in entries if entry.exchange == "train.network"]
        assert None not in spent
        assert spent == sorted(spent)  # type: ignore[type-var]
        assert spent[-1] == pytest.approx(row["epsilon"])
        assert {e.epsilon for e in entries if e.exchange != "train.network"} == {None}


def test_the_trainings_cost_at_most_what_was_planned_before_them(
    run: tuple[Path, dict[str, Any]],
) -> None:
    out, _ = run
    for site in ("north", "south", "west"):
        settings = load_site(work(out, site).parent / "site.toml")
        study = load_study(out.parent / "study.toml")
        cohort = read_cohort(settings.data, site, study)
        cohort.patients = assign_folds(cohort.patients, study)
        budget = PatientBudget.of(settings, study, cohort)
        planned, spent = tuple(budget.whole_study()), budget.spent()
        assert Counter(map(named, planned)) == Counter(map(named, spent))
        rates = {(one.network, one.variant): one.sample_rate for one in planned}
        assert all(one.sample_rate <= rates[one.network, one.variant] for one in spent)
        assert budget.epsilon(spent) <= budget.epsilon(planned) <= 1.1 * budget.epsilon(spent)
        assert all(one.membership for one in spent)


def named(one: Spending) -> tuple[str, str, float]:
    return one.network, one.variant, one.noise_multiplier


def test_no_loss_leaves(run: tuple[Path, dict[str, Any]]) -> None:
    losses = run[1]["training"]["federated"]["dl3d"]["final"]["train_loss"]
    assert len(losses) == 2
    assert all(loss is None or loss != loss for loss in losses)


def test_the_report_says_what_it_costs_and_what_it_does_not_cover(
    run: tuple[Path, dict[str, Any]],
) -> None:
    out, tree = run
    write_outputs(json.loads(json.dumps(tree)), out)
    page = (out / "report" / "index.html").read_text(encoding="utf-8")
    assert "Differential privacy" in page
    assert f"{tree['privacy'][0]['epsilon']:.2f}" in page
    assert "about the weights of the networks alone" in page
