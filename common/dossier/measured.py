"""Figures of the privacy audit of one run, in plain words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from common.dossier.markdown import bullets
from common.evaluation.membership import FALSE_POSITIVES
from common.models import MODELS

FEDERATED = "federated"
DECODERS = {
    "components": "search behind matrices of products",
    "columns": "columns in which one differs",
    "cells": "intervals that hold one",
    "differences": "two sums that differ by one",
}
Figures = Mapping[str, Iterable[Mapping[str, Any]]]


def measured(figures: Figures) -> str:
    """Write the audit's figures of the federated run; empty where nothing was measured.

    Parameters
    ----------
    figures : results.json, or a part of it with `membership`, `linkage`, `releases` and
        `canaries`; numbers may be the text of a number.

    Examples
    --------
    >>> print(measured({"linkage": [{"run": "federated", "patients": 120, "unique": 18}]}))
    - Row linkage: of 120 patients with a pooled row, 18 have exactly one that fits [@linkage].
    """
    rows = {
        name: [row for row in figures.get(name, ()) if row["run"] == FEDERATED]
        for name in ("linkage", "membership", "releases", "canaries")
    }
    return bullets(
        (
            *_linkage(rows["linkage"]),
            *_membership(rows["membership"]),
            *_releases(rows["releases"]),
            *_canaries(rows["canaries"]),
        )
    )


def _linkage(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    for row in rows:
        yield (
            f"Row linkage: of {row['patients']} patients with a pooled row, {row['unique']} have"
            " exactly one that fits [@linkage]."
        )


def _membership(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    """Give the worst of all hospitals and models: the one most above chance."""
    if not rows:
        return
    for name, words, chance in (
        ("auc", "AUC", "0.5"),
        ("tpr", f"share found at {FALSE_POSITIVES:.0%} false positives", f"{FALSE_POSITIVES:.2f}"),
    ):
        worst = max(rows, key=lambda row: float(row[name]))
        value, low, high = (float(worst[key]) for key in (name, f"{name}_low", f"{name}_high"))
        yield (
            f"Attack that picks out training patients, {words}: {value:.2f} ({low:.2f} to"
            f" {high:.2f}; chance {chance}) at {worst['site']}, {MODELS[worst['model']].short}, the"
            f" highest of {len(rows)} [@membership]."
        )


def _releases(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    if not rows:
        return
    smallest = min(rows, key=lambda row: int(row["smallest"]))
    determined = sum(int(row["determined"]) for row in rows)
    losses = [row["epsilon"] for row in rows]
    most = "no bound" if None in losses else f"{max(float(loss) for loss in losses):.2f}"
    yield (
        f"Fewest patients of a hospital in a set that was asked about: {smallest['smallest']}, at"
        f" {smallest['site']} [@releases]."
    )
    yield (
        "Patients whose own numbers follow from totals over all sets asked about, if all other"
        f" hospitals reveal theirs: {determined} [@releases]."
    )
    yield f"Epsilon over all private trainings of all runs, the largest: {most} [@max_epsilon]."


def _canaries(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    """Add up what each decoder found over the hospitals that hold totals."""
    measured = [row for row in rows if row["searched"] is not None]
    for decoder, words in DECODERS.items():
        own = [row for row in measured if row["decoder"] == decoder]
        searched = [row for row in own if int(row["searched"])]
        if own and not searched:
            yield f"Planted made-up patients, {words}: no total could be searched so [@canaries]."
        if searched:
            planted, found, chance, patients, patients_found = (
                sum(int(row[key]) for row in searched)
                for key in ("planted", "found", "chance", "patients", "patients_found")
            )
            yield (
                f"Planted made-up patients, {words}: {found} of {planted} found, {chance} by"
                f" chance; of {patients} own patients {'at most ' if patients_found else ''}"
                f"{patients_found} [@canaries]."
            )
    without = sorted({str(row["site"]) for row in rows} - {str(row["site"]) for row in measured})
    if without:
        derive = (
            "derives no question and holds" if len(without) == 1 else "derive no question and hold"
        )
        yield (
            f"Planted made-up patients: not measured at {', '.join(without)}, which {derive} no"
            " totals [@canaries]."
        )
