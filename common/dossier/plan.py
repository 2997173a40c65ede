"""Every phase of a study with all that it asks for: upper bounds, known before anything is asked.

The order and the questions are those of the coordinator's phases; a test compares this plan with
what whole runs ask.
"""

from __future__ import annotations

import numpy as np

from common.dossier.asked import EVERYBODY, Asked, Phase, answers, sums
from common.dossier.network_size import network_size, width_of
from common.dossier.plan_linear import (
    SUPPORT_CELLS,
    feature_selection,
    linear_arm,
    moments,
    rank_cells,
)
from common.dossier.plan_scores import fusion_by_bins, handed_out, scores_over_sites
from common.dossier.plan_strata import strata_cuts, strata_over_sites
from common.dossier.plan_table1 import table1
from common.masking.update import SUMS
from common.statistics.counts import FoldCounts
from common.statistics.fold_histogram import FoldHistogram
from common.statistics.gram import CrossProducts
from common.statistics.icc import PairedMoments
from common.statistics.moments import Means, Missingness
from common.study.model import ClinicalColumn, NetworkSettings, Study

PAIRS_OF_READINGS = 3
BYTES_A_NAME, BYTES_OF_ENROLMENT = 48, 2000


def plan(study: Study) -> tuple[Phase, ...]:
    """All phases in order."""
    phases = [_enrolment(study), table1(study)]
    if "clinical" in study.base_models:
        phases.append(_clinical(study))
    if "radiomics" in study.base_models:
        phases.append(_radiomics(study))
    networks = [name for name in ("dl2d", "dl3d") if name in study.base_models]
    phases += [_network(study, name, counts=name == networks[0]) for name in networks]
    if "fusion_feature" in study.fusion_models:
        phases.append(_feature_fusion(study, len(networks)))
    return (*phases, _decision(study), _evaluation(study))


def models_of(study: Study) -> tuple[str, ...]:
    """Names of all models."""
    return (*study.base_models, *study.fusion_models)


def model_columns(column: ClinicalColumn) -> tuple[str, ...]:
    """Columns of the clinical table that a clinical column becomes."""
    if column.kind in ("continuous", "ordinal"):
        return (column.name,)
    return tuple(f"{column.name}={level}" for level in column.levels[1:])


def clinical_width(study: Study) -> int:
    """Columns of the clinical table."""
    return sum(len(model_columns(column)) for column in study.clinical)


def _enrolment(study: Study) -> Phase:
    features = study.radiomics.expected_features if study.needs_images else 0
    names = clinical_width(study) + features
    asked = Asked(
        exchange="query.enrol",
        what="names and numbers",
        subset=EVERYBODY,
        parts={"column names": f"{names:,}", "patients and positives": "2 a set"},
        size=BYTES_OF_ENROLMENT + BYTES_A_NAME * names,
        rounds=1,
    )
    return Phase("enrolment", "Who takes part, and with how many patients", 1, (asked,))


def _clinical(study: Study) -> Phase:
    width, filled = clinical_width(study), clinical_width(study) + len(study.clinical)
    edges = np.zeros((filled, SUPPORT_CELLS + 1))
    fitted, rounds = linear_arm(study, filled, tables=1)
    asked = (
        sums(study, Means(), width),
        sums(study, Missingness(), width),
        *moments(study, filled, 1),
        sums(study, FoldHistogram(folds=study.folds, edges=edges), filled),
        *fitted,
    )
    return Phase("clinical", "The clinical model", 4 + rounds, asked)


def _radiomics(study: Study) -> Phase:
    width = study.radiomics.expected_features
    fitted, rounds = linear_arm(study, width, tables=1)
    asked = (
        *moments(study, width, 1),
        *feature_selection(study, width, 1),
        sums(study, PairedMoments(mean=np.zeros(width)), width, tables=PAIRS_OF_READINGS),
        *fitted,
    )
    return Phase("radiomics", "The radiomics model", 7 + rounds, asked)


def _settings(study: Study, name: str) -> NetworkSettings:
    return study.dl2d if name == "dl2d" else study.dl3d


def _network(study: Study, name: str, *, counts: bool) -> Phase:
    settings, variants = _settings(study, name), study.folds + 1
    size, running = network_size("dl2d" if name == "dl2d" else "dl3d", settings)
    # control variates are as long as the weights
    numbers = 2 * size if settings.spec.sends_control else size
    what = "change of the weights"
    training = _update(study, what, numbers, running, variants * settings.rounds)
    looks = variants + (study.folds if settings.validates else 0)
    looking = _update(study, "loss of the weights", 0, 0, looks)
    asked = [training, looking]
    rounds = variants * settings.rounds + looks
    if counts:
        asked.insert(0, sums(study, FoldCounts(folds=study.folds), 0))
        rounds += 1
    if "fusion_feature" in study.fusion_models:
        components = _components(study, width_of(settings), variants)
        asked += components
        rounds += sum(one.rounds for one in components)
    kind = "2D" if name == "dl2d" else "3D"
    return Phase(name, f"The {kind} network, {variants} trainings", rounds, tuple(asked))


def _components(study: Study, width: int, tables: int) -> tuple[Asked, ...]:
    """Principal components, in guarded mode of normal scores; a round each."""
    edges = np.zeros((width, SUPPORT_CELLS + 1))
    guarded = study.privacy.mode == "guarded"
    return (
        *moments(study, width, tables),
        sums(study, FoldHistogram(folds=study.folds, edges=edges), width, tables=tables),
        *(rank_cells(study, width, tables) if guarded else ()),
        sums(study, CrossProducts(mean=np.zeros(width)), width, tables=tables),
    )


def _update(study: Study, what: str, size: int, running: int, rounds: int) -> Asked:
    rest = running + SUMS
    return Asked(
        exchange="train.network",
        what=what,
        subset="train",
        parts={"parameters": f"{size:,}", "rest": f"{rest:,}"},
        size=4 * size + 8 * rest,
        rounds=rounds,
        masked=study.masked("train"),
    )


def _feature_fusion(study: Study, networks: int) -> Phase:
    width = 0
    if "clinical" in study.base_models:
        width += clinical_width(study) + len(study.clinical)
    if "radiomics" in study.base_models:
        width += study.radiomics.expected_features
    for name in ("dl2d", "dl3d"):
        if name in study.base_models:
            width += min(study.selection.pca_components, width_of(_settings(study, name)))
    tables = study.folds + 1 if networks else 1
    fitted, rounds = linear_arm(study, width, tables)
    asked = (*moments(study, width, tables), *feature_selection(study, width, tables), *fitted)
    purpose = "The model on the features of all others"
    return Phase("fusion_feature", purpose, 7 + rounds, asked)


def _decision(study: Study) -> Phase:
    names = [name for name in models_of(study) if name != "fusion_decision"]
    if study.fusion.pooling == "bins":
        return fusion_by_bins(study, len(names))
    rows = Asked(
        exchange="query.rows",
        what="out-of-fold probabilities and outcomes",
        subset="train",
        parts={"probabilities": f"patients x {len(names)}", "labels": "patients"},
        size=8 * (len(names) + 1),
        rounds=1,
        columns=len(names),
    )
    return Phase("fusion_decision", "Cut-offs, and the model on all probabilities", 1, (rows,))


def _evaluation(study: Study) -> Phase:
    models = len(models_of(study))
    spread = [t.name for t in study.test_sets if len(study.members(t.name)) > 1]
    over_sites = [one for subset in spread for one in scores_over_sites(study, models, subset)]
    handed = [
        answers("evaluate.handout", what, subset, parts)
        for subset, what, parts in handed_out(study, models)
    ]
    cutting, cut_rounds = strata_cuts(study)
    levels, level_rounds = strata_over_sites(study, models)
    rounds = 1 + (2 if spread else 0) + cut_rounds + level_rounds
    asked = (*cutting, *handed, *over_sites, *levels)
    return Phase("evaluation", "Measures of the test sets", rounds, asked)
