from __future__ import annotations

from typing import Any

from common.dossier.measured import measured

ATTACKED = {"run": "federated", "members": 140, "others": 41}


def attacked(site: str, auc: float, tpr: float, **other: Any) -> dict[str, Any]:
    ends = {"auc_low": auc - 0.1, "auc_high": auc + 0.1, "tpr_low": 0.0, "tpr_high": tpr + 0.1}
    return {**ATTACKED, "site": site, "model": "clinical", "auc": auc, "tpr": tpr, **ends, **other}


def released(site: str, smallest: int, determined: int, epsilon: float | None) -> dict[str, Any]:
    figures = {"smallest": smallest, "determined": determined, "epsilon": epsilon}
    return {"run": "federated", "site": site, **figures}


def test_the_most_successful_attack_is_named_with_interval_and_chance() -> None:
    rows = [attacked("north", 0.58, 0.04), attacked("east", 0.52, 0.11)]
    auc, tpr = measured({"membership": [*rows, attacked("x", 0.99, 0.9, run="pooled")]}).split("\n")
    assert "AUC: 0.58 (0.48 to 0.68; chance 0.5) at north" in auc and "highest of 2" in auc
    assert "5% false positives: 0.11 (0.00 to 0.21; chance 0.05) at east" in tpr


def test_sets_are_summed_up_over_hospitals_and_an_endless_epsilon_is_named() -> None:
    rows = [released("north", 8, 0, 1.25), released("east", 5, 2, 0.5)]
    found = measured({"releases": rows})
    assert ": 5, at east [@" in found and ": 2 [@" in found and "largest: 1.25 [@" in found
    assert "largest: no bound [@" in measured({"releases": [*rows, released("c", 9, 0, None)]})


def test_nothing_is_said_where_nothing_was_measured() -> None:
    assert measured({}) == measured({"linkage": [], "membership": []}) == ""
