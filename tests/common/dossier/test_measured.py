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


def planted(site: str, decoder: str, *figures: int | None) -> dict[str, Any]:
    names = ("searched", "planted", "found", "chance", "patients", "patients_found")
    given = figures or (None,) * len(names)
    return {
        "run": "federated",
        "site": site,
        "decoder": decoder,
        **dict(zip(names, given, strict=True)),
    }


def test_canaries_are_added_up_by_decoder_and_hospitals_that_measure_nothing_named() -> None:
    rows = [
        planted("north", "components", 3, 9, 0, 0, 40, 0),
        planted("east", "components", 2, 9, 1, 0, 30, 3),
        planted("north", "columns", 0, 0, 0, 0, 0, 0),
        planted("north", "cells", 8, 9, 9, 2, 50, 50),
        planted("west", "components"),
    ]
    found = measured({"canaries": rows}).split("\n")
    assert (
        "matrices of products: 1 of 18 found, 0 by chance; of 70 own patients at most 3" in found[0]
    )
    assert "differs: no total could be searched so" in found[1]
    assert "9 of 9 found, 2 by chance; of 50 own patients at most 50" in found[2]
    assert "not measured at west, which derives no question and holds no totals" in found[3]
    assert len(found) == 4
    (only,) = measured({"canaries": [planted(site, "cells") for site in ("a", "b")]}).split("\n")
    assert "not measured at a, b, which derive no question and hold no totals" in only


def test_nothing_is_said_where_nothing_was_measured() -> None:
    assert measured({}) == measured({"linkage": [], "membership": []}) == ""
