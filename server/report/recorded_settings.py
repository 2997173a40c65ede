"""The choices of a study for results.json: its settings, and remarks on what no setting says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from common.models import NETWORKS
from common.presets import settings_text
from common.study.model import Study
from server.report import words

BLOCKS = (
    *("imaging", "radiomics", "harmonisation", "selection", "svm", *NETWORKS, "fusion"),
    *("privacy", "differential_privacy", "training", "waiting", "analysis"),
)
PARTS = ("folds", "base_models", "fusion_models", "model_options", "strata", "clinical")
INTERPOLATION = {"image": "cubic B-spline", "roi": "nearest neighbour", "crops": "linear"}
PAPERS_FEATURES = "radiomics-1834"


def recorded_settings(study: Study) -> dict[str, Any]:
    """Return the block `settings` of results.json: all that shapes the study, no key.

    Of files with pretrained weights the name is kept and not the folder, which is a path of the
    coordinator's machine. Costs are those that are compared, where the study names none.
    """
    written = study.model_dump(mode="json")
    found = {name: written[name] for name in (*PARTS, *BLOCKS)}
    for network in NETWORKS:
        found[network]["pretrained"] = PurePath(found[network]["pretrained"]).name
    found["svm"]["costs"] = list(study.svm.cost_grid)
    found["follow_up"] = written["follow_up"] or {}
    found["reporting"] = study.reporting.filled()
    found["analysis"]["primary"] = found["analysis"]["primary"] or {}
    found["interpolation"] = INTERPOLATION
    with_features = "radiomics" in study.base_models
    found["radiomics_file"] = settings_text(study.radiomics.settings) if with_features else ""
    found["remarks"] = [
        *_of_radiomics(study),
        *_of_networks(study),
        *_of_missing(study),
        *_of_fitting(study),
    ]
    return found


def _of_radiomics(study: Study) -> Iterator[str]:
    if "radiomics" not in study.base_models:
        return
    number = study.radiomics.expected_features
    if study.radiomics.settings == PAPERS_FEATURES:
        yield (
            f"The {number} radiomics features are a reconstruction: the paper names the tool,"
            " PyRadiomics, and the number, and its settings file is not public."
        )
    else:
        yield (
            f"The {number} radiomics features are those of {study.radiomics.settings}, not the"
            " 1834 that the paper counts."
        )
    if not study.radiomics.window:
        yield (
            "Radiomics features see all HU. In the paper the window is part of the preprocessing"
            " of all images; radiomics.window = true has it so."
        )


def _of_networks(study: Study) -> Iterator[str]:
    if not study.networks:
        return
    yield (
        "The optimiser of a network begins anew in every round, without the moments of the last,"
        " in the pooled reference too."
    )
    if study.follow_up is not None:
        yield (
            "A network has an output for each period and learns discrete hazards; one Cox model on"
            " what it says of patients whom it was not trained on makes the risk."
        )
    if not study.reads_network_features:
        return
    what = "normal scores of " if study.privacy.mode == "guarded" else ""
    yield (
        f"Principal components of network features are those of {what}the standardised features."
        " The paper names no standardising before them."
    )
    if study.selection.networks == "off":
        yield (
            "No LASSO is run on the features of one network, from which the paper shows seven in"
            " 2D and six in 3D: network features are selected within the feature fusion alone."
        )
    if study.selection.networks == "use":
        yield (
            "The probability of a network model comes from a machine on the features that the"
            " LASSO keeps; in the paper the network itself gives it."
        )
    if "radiomics" in study.base_models and "fusion_feature" in study.fusion_models:
        yield (
            "The ICC acts in the feature fusion only in that radiomics features come to it"
            " filtered by it; network features have no repeat readings."
        )


def _of_missing(study: Study) -> Iterator[str]:
    """Explain how missing clinical values are filled, and why so."""
    if "clinical" not in study.base_models:
        return
    yield (
        "Missing clinical values are filled once: numbers, and ordered levels as 0, 1, 2, ..., with"
        " the mean of all training patients, other levels with the most frequent one. These see no"
        " outcome and are single numbers, so that the model says the same of a patient at every"
        " hospital; intervals do not count the uncertainty of what was filled. The paper does not"
        " mention missing values. Table 1 says how many are missing."
    )
    if study.selection.missing_indicators:
        yield (
            "Where a hospital lacks a variable altogether, a further column says who lacks it. It"
            " tells this hospital from the others, and how frequent the endpoint is there: compare"
            " the AUCs of pairs within hospitals, which it does not help, with those of all pairs."
        )


def _of_fitting(study: Study) -> Iterator[str]:
    if study.privacy.mode == "guarded":
        scores = [name for name in ("radiomics", "network") if _has(study, name)]
        if scores:
            yield (
                f"In guarded mode {' and '.join(scores)} features enter the models as normal"
                " scores of their ranks, for the sake of privacy; the paper has z-scores."
            )
        yield (
            f"In guarded mode z-scores are limited to \N{PLUS-MINUS SIGN}"
            f"{study.selection.clip:g} before LASSO and machine; the paper has no limit."
        )
    chosen = ["cut-offs"]
    if study.follow_up is not None:
        chosen.append("the baseline hazard at the horizon")
    elif _linear(study):
        chosen.append("the Platt scaling of a machine's values")
    if study.networks:
        chosen.append("that of what a network says")
    if "fusion_decision" in study.fusion_models and study.follow_up is None:
        chosen.append("the hyper-parameters of the stacker")
    yield (
        "A model is fitted without the fold that it is judged on. Chosen on all out-of-fold"
        f" probabilities together are {words.join(chosen)}. Areas of the training set compare"
        " patients of the same fold, and its counts at a cut-off are those of each fold at the"
        " cut-off from the others, so that neither shows a signal where there is none; its Brier"
        " score and curves depend on the scaling. No measure of a test set depends on any of it."
    )
    choosing = ["the feature fusion chooses"] if "fusion_feature" in study.fusion_models else []
    if study.selection.networks != "off":
        choosing.insert(0, "the LASSO on a network's features chooses")
    if study.networks and choosing:
        yield (
            f"Within the folds it learns from, {' and '.join(choosing)} penalty and cost on"
            " network features of patients whom that network was trained on."
        )


def _linear(study: Study) -> bool:
    return any(study.fits_machine(name) for name in (*study.base_models, *study.fusion_models))


def _has(study: Study, name: str) -> bool:
    """Tell if this kind of features enters a linear model."""
    if name == "radiomics":
        return "radiomics" in study.base_models
    return study.reads_network_features
