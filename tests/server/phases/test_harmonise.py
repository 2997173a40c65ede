"""Harmonising over masked sums, on synthetic hospitals with scanner shifts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.workspace import Workspace
from common.disclosure.forms import check_models, check_out_of_fold
from common.errors import RefusedError
from common.messages.exchanges import SumItem
from common.statistics.base import Float, Rows
from common.statistics.within_batches import WithinBatches
from common.study.harmonisation import HarmonisationSettings
from common.study.model import Study, parse_study
from common.transforms import Harmonise, Select
from common.transforms.views import Joined, View, materialise, table
from server.phases.harmonise import covariate_columns, harmonise
from server.phases.radiomics import fit_radiomics, radiomics_asks
from sim.engines.inprocess import SERVER_NODE, task_identity
from sim.equality.references import combat
from sim.equality.run import STUDY
from sim.equality.sites import Hospitals, PooledTables, federate, pooled_rows, synthetic_sites
from sim.equality.synthetic import FULL, SyntheticCohort, generate
from sim.sites import with_identities

PLAN = replace(FULL, train=(40, 60, 50, 40), features=60, timed=False)
COVARIATES = ("age", "sex")


@pytest.fixture(scope="module")
def cohort() -> SyntheticCohort:
    return generate(PLAN, 7)


def study_with(**settings: Any) -> Study:
    plain = with_identities(parse_study(STUDY, where="test"))
    own = HarmonisationSettings(tables=("radiomics",), **settings)
    return plain.model_copy(update={"harmonisation": own})


class Trial:
    """Four hospitals that are asked under masks."""

    def __init__(self, study: Study, cohort: SyntheticCohort, work: Path) -> None:
        self.study = study
        self.sites: dict[str, Workspace] = dict(synthetic_sites(cohort, study, work))
        self.federation = federate(study, Hospitals(self.sites))
        self.tables = PooledTables(self.sites, study)
        columns = self.federation.columns("radiomics")
        self.raw = table("radiomics").then(Select(columns))

    def harmonised(self, view: View) -> Float:
        """Return all training patients' rows, each made at its own hospital."""
        parts = [materialise(view, one.tables, "train").values for one in self.sites.values()]
        return np.vstack(parts)


@pytest.fixture(params=[(), COVARIATES], ids=["alone", "covariates"])
def trial(
    request: pytest.FixtureRequest, cohort: SyntheticCohort, tmp_path: Path
) -> Iterator[Trial]:
    with task_identity(SERVER_NODE):
        yield Trial(study_with(covariates=request.param), cohort, tmp_path)


def covariates_of(trial: Trial) -> Float:
    """Fill, standardise and limit as guarded mode does, on all patients together."""
    if not trial.study.harmonisation.covariates:
        return np.zeros((pooled_rows(trial.sites, trial.study, "coded", "train").n, 0))
    names = covariate_columns(trial.study)
    rows = materialise(table("clinical").then(Select(names)), trial.tables, "train").values
    mean, deviation = np.nanmean(rows, axis=0), np.nanstd(rows, axis=0)
    filled = np.where(np.isnan(rows), mean, rows)
    limit = trial.study.selection.clip
    return np.clip((filled - mean) / deviation, -limit, limit)


def test_masked_sums_give_what_all_patients_together_give(trial: Trial) -> None:
    assert trial.study.masked("train") and trial.study.privacy.mode == "guarded"
    (view,), (dropped,) = harmonise(trial.federation, [trial.raw])
    pooled: Rows = materialise(trial.raw, trial.tables, "train")
    at = [pooled.columns.index(name) for name in view.outputs()]
    assert pooled.batch is not None
    for name, values in zip(pooled.columns, pooled.values.T, strict=True):
        spread = [np.ptp(values[pooled.batch == site]) for site in range(4)]
        assert (name in dropped) == (max(spread) == 0.0)
    values = pooled.values[:, at]
    wanted = combat(values, pooled.batch, covariates_of(trial))
    done = trial.harmonised(view)
    assert np.abs((done - wanted) / values.std(axis=0)).max() < 1e-6
    assert np.abs((values - wanted) / values.std(axis=0)).max() > 0.1


def test_the_model_on_it_has_the_form_that_hospitals_answer_and_asks_what_it_declares(
    trial: Trial,
) -> None:
    trial.federation.part = "radiomics"
    model = fit_radiomics(trial.federation)
    check_models({"radiomics": model.final}, trial.study)
    check_out_of_fold({"radiomics": model.out_of_fold}, trial.study)
    assert any(isinstance(step, Harmonise) for step in model.final.transforms)
    assert "harmonised over hospitals (ComBat)" in model.selection["notes"][0]
    declared = radiomics_asks(trial.study)
    assert "WithinBatches" in {one.what for one in declared.asked}
    rounds, kilobytes = trial.federation.traffic("radiomics/")
    assert rounds <= declared.rounds
    assert kilobytes * 1000 <= declared.bytes_up(trial.study, "east")


def test_a_hospital_refuses_covariates_without_counts(
    cohort: SyntheticCohort, tmp_path: Path
) -> None:
    with task_identity(SERVER_NODE):
        trial = Trial(study_with(), cohort, tmp_path)
        ages = table("clinical").then(Select(("sex=male",)))
        beside = View(source=Joined(parts=(trial.raw, ages)))
        for statistic, view in (
            (WithinBatches(covariates=1), beside),
            (WithinBatches(covariates=1), trial.raw),
        ):
            with pytest.raises(RefusedError, match="rule support"):
                trial.federation.sum_many([SumItem(statistic, view, "train")])


def test_one_hospital_alone_is_not_harmonised_and_off_is_the_default() -> None:
    study = study_with()
    assert study.harmonises("radiomics") and not study.harmonises("deep")
    alone = study.model_copy(update={"sites": study.sites[:1]})
    assert not alone.harmonises("radiomics")
    scanners = study.harmonisation.model_copy(update={"batch": "scanner"})
    assert alone.model_copy(update={"harmonisation": scanners}).harmonises("radiomics")
    assert not parse_study(STUDY, where="test").harmonisation.tables
