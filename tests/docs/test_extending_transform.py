"""The worked example of docs/extending.md adds a transform in one file."""

from __future__ import annotations

import doctest
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import common.transforms
from client.workspace import Workspace
from common.disclosure.forms import FormError, check_form, check_models, check_out_of_fold
from common.errors import RefusedError
from common.messages.plain import from_tree, to_tree
from common.statistics.gram import FoldGram
from common.statistics.moments import Means
from common.study.model import Study, load_study
from common.transforms import Clip, Impute, Select, Standardise
from common.transforms.base import NOWHERE, Transform
from common.transforms.views import View, materialise, table
from server.federation.federation import Federation
from server.phases.fitted_model import FittedModel
from server.phases.linear import fit_linear_model
from server.phases.near_zero_variance import fold_histograms
from server.phases.standardise import standardise
from sim.engines.inprocess import SERVER_NODE, task_identity
from sim.equality.sites import Hospitals, PooledTables, federate, folder_sites
from sim.sites import with_identities

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "extending" / "transform.py"
USED = ("marker", "age")
RAW = table("clinical").then(Select(columns=USED), Impute(USED, fill=np.array([0.0, 60.0])))


@pytest.fixture(scope="module")
def log_scale(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The example in the folder of transforms, and nothing else anywhere."""
    added = tmp_path_factory.mktemp("transforms")
    shutil.copy(EXAMPLE, added / "log_scale.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(common.transforms, "__path__", [*common.transforms.__path__, str(added)])
        common.transforms.find_transforms()
        yield sys.modules["common.transforms.log_scale"].LogScale
    del sys.modules["common.transforms.log_scale"]


@dataclass(frozen=True)
class Trial:
    """Three hospitals, the view that they were asked for, and the model fitted on it."""

    study: Study
    sites: dict[str, Workspace]
    federation: Federation
    scaled: View
    model: FittedModel

    def pooled(self, view: View) -> Any:
        """All patients' training rows of a view, as one hospital would hold them."""
        return materialise(view, PooledTables(self.sites, self.study), "train")


@pytest.fixture(scope="module")
def trial(
    log_scale: Any, tabular_master: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trial]:
    study = with_identities(load_study(tabular_master / "study.toml"))
    quick = study.svm.model_copy(update={"costs": (0.1,), "max_rounds": 12})
    study = study.model_copy(update={"svm": quick})
    sites = folder_sites(tabular_master, study, tmp_path_factory.mktemp("work"))
    with task_identity(SERVER_NODE):
        federation = federate(study, Hospitals(sites))
        logged = RAW.then(log_scale(columns=USED, skewed=("marker",)))
        (scaled,), _ = standardise(federation, [logged])
        (found,) = federation.sum_many(fold_histograms(study, [scaled]))
        views, supports = [scaled] * (study.folds + 1), [found.support()] * (study.folds + 1)
        model = fit_linear_model(federation, "clinical", views, supports, views, {})
        yield Trial(study, sites, federation, scaled, model)


def test_masked_sums_standardise_the_log_of_all_patients_values(trial: Trial) -> None:
    assert trial.study.masked("train") and trial.study.privacy.mode == "guarded"
    raw = trial.pooled(RAW).values
    raw[:, 0] = np.sign(raw[:, 0]) * np.log1p(np.abs(raw[:, 0]))
    wanted = (raw - raw.mean(axis=0)) / raw.std(axis=0)
    np.testing.assert_allclose(trial.pooled(trial.scaled).values, wanted, atol=1e-8)


def test_a_model_on_it_is_accepted_and_travels_and_scores(trial: Trial) -> None:
    check_out_of_fold({"clinical": trial.model.out_of_fold}, trial.study)
    final = trial.model.final
    check_models({"clinical": final}, trial.study)
    assert "LogScale" in [type(step).__name__ for step in final.transforms]
    again = from_tree(*to_tree(final))
    rows = trial.pooled(again)
    np.testing.assert_array_equal(rows.values, trial.pooled(final).values)
    score, positive = rows.values[:, 0], rows.label > 0.5
    assert (score[positive][:, None] > score[~positive]).mean() > 0.7


def test_it_stands_at_its_place_only(trial: Trial, log_scale: Any) -> None:
    step = log_scale(columns=USED, skewed=("marker",))
    scale = Standardise(USED, mean=np.zeros(2), scale=np.ones(2))
    check_form(RAW.then(step, scale), trial.study)
    for view in (RAW.then(scale, step), RAW.then(step, step)):
        with pytest.raises(FormError, match="LogScale at another place than in a model"):
            check_form(view, trial.study)


def test_without_a_declared_place_every_hospital_refuses_it(
    trial: Trial, log_scale: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Transform.place == NOWHERE
    monkeypatch.delattr(log_scale, "place")
    step = log_scale(columns=USED, skewed=("marker",))
    with pytest.raises(RefusedError, match="rule form"):
        trial.federation.sum(Means(), RAW.then(step))


def test_no_message_declares_a_place(trial: Trial, log_scale: Any) -> None:
    tree, arrays = to_tree(RAW.then(log_scale(columns=USED, skewed=())))
    tree["transforms"][-1]["place"] = 1.7
    with pytest.raises(ValueError, match="fields of LogScale do not match"):
        from_tree(tree, arrays)


def test_it_bounds_nothing_so_that_matrices_still_need_a_limit(
    trial: Trial, log_scale: Any
) -> None:
    (found,) = trial.federation.sum_many(fold_histograms(trial.study, [trial.scaled]))
    gram = FoldGram(folds=trial.study.folds, support=found.support())
    with pytest.raises(RefusedError, match="rule bounded"):
        trial.federation.sum(gram, trial.scaled)
    step = log_scale(columns=USED, skewed=USED)
    assert not np.isfinite(step.bound(3.0))
    assert Clip(limit=3.0).bound(step.bound(3.0)) == 3.0


def test_the_example_of_its_docstring_runs(log_scale: Any) -> None:
    done = doctest.testmod(sys.modules[log_scale.__module__])
    assert done.attempted and not done.failed
