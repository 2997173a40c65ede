"""The worked example of docs/extending.md adds a model in one file."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge

import server.phases
from client.app import app
from client.workspace import open_workspace
from common.bundle.bundle import Bundle, read_files
from common.disclosure.forms import FormError, check_models, check_out_of_fold
from common.disclosure.gradients import machine_views
from common.dossier.of_study import study_dossier
from common.errors import InputError
from common.models import MODELS, find_model, in_order
from common.study.model import Study, load_study, parse_study, write_study
from common.transforms import Linear, Sigmoid
from common.transforms.views import View, materialise, table
from server.app import run_configured_study
from server.phases.fitted_model import forget, phase_of, register
from server.phases.program import declared_phases, phase_names
from server.progress.events import Events
from server.report.study_report import write_outputs
from sim.engines.inprocess import SERVER_NODE, InProcessGrid, task_identity
from sim.equality.sites import PooledTables, folder_sites
from sim.sites import place_coordinator, place_sites, with_identities
from tests.fixtures.models import out_of_fold

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "extending" / "model.py"
COLUMNS = ("age", "marker")
MODEL = """
base_models = ["clinical", "ridge"]
fusion_models = ["fusion_feature", "fusion_decision"]
"""
SETTINGS = """
[model_options.ridge]
columns = ["age", "marker"]
penalties = [0.5]
[svm]
costs = [0.1]
max_rounds = 12
"""


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The example in the folder of phases, and nothing else anywhere."""
    added = tmp_path_factory.mktemp("phases")
    shutil.copy(EXAMPLE, added / "ridge.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server.phases, "__path__", [*server.phases.__path__, str(added)])
        find_model("ridge")
        yield
    forget("ridge")
    del sys.modules["server.phases.ridge"]


def text_of(folder: Path) -> str:
    text = (folder / "study.toml").read_text(encoding="utf-8")
    old = 'base_models = [\n    "clinical",\n]\nfusion_models = []\n'
    assert old in text
    return text.replace(old, MODEL) + SETTINGS


@pytest.fixture(scope="module")
def study(example: None, tabular_master: Path) -> Study:
    return with_identities(parse_study(text_of(tabular_master)))


@pytest.fixture(scope="module")
def run(
    study: Study, tabular_master: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """A whole study of three hospitals, under masks."""
    out = tmp_path_factory.mktemp("ridge")
    assert study.masked("train")
    file = write_study(study, out / "study.toml")
    open_workspace.cache_clear()
    folders = {name: tabular_master / name for name in ("a", "b", "c")}
    sites = place_sites(folders, out / "run", out / "cache", exclude_bad_patients=False)
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


def final_model(run: tuple[Path, dict[str, Any]]) -> View:
    return Bundle.from_files(read_files(run[0] / "bundle")).models["ridge"]


def test_masked_sums_give_the_ridge_regression_of_all_patients(
    run: tuple[Path, dict[str, Any]], study: Study, tabular_master: Path, tmp_path: Path
) -> None:
    *before, line, platt = final_model(run).transforms
    assert isinstance(line, Linear) and isinstance(platt, Sigmoid) and platt.a < 0
    pooled = PooledTables(folder_sites(tabular_master, study, tmp_path), study)
    rows = materialise(
        View(source=table("clinical").source, transforms=tuple(before)), pooled, "train"
    )
    assert rows.columns == COLUMNS
    wanted = Ridge(alpha=0.5 * rows.n).fit(rows.values, rows.label).coef_
    np.testing.assert_allclose(
        line.weights / np.linalg.norm(line.weights), wanted / np.linalg.norm(wanted), rtol=1e-6
    )
    assert np.std(rows.values @ line.weights) == pytest.approx(1.0, rel=1e-6)


def test_the_whole_study_reports_it_beside_the_others(
    run: tuple[Path, dict[str, Any]], study: Study
) -> None:
    found = write_outputs(run[1], run[0])
    rows = [row for row in found.performance if row.model == "ridge"]
    assert {row.set for row in rows} == {"train", "internal", "external_1"}
    assert all(row.auc is not None and row.auc > 0.5 for row in rows), rows
    names = {row.model for row in found.performance}
    assert in_order(names) == ("clinical", "ridge", "fusion_feature", "fusion_decision")
    assert found.settings.model_options["ridge"]["columns"] == COLUMNS
    assert "Ridge" in (run[0] / "report" / "index.html").read_text(encoding="utf-8")


def test_its_phase_stands_after_the_papers_and_in_the_dossier(study: Study) -> None:
    assert phase_names(study)[2:5] == ("clinical", "ridge", "fusion_feature")
    phases = declared_phases(study)
    assert tuple(phase.name for phase in phases) == phase_names(study)
    text = study_dossier(study, phases)
    assert "`ridge` (ridge regression)" in text and phase_of("ridge").asks(study).purpose in text


def test_only_forms_that_it_declares_are_released(study: Study) -> None:
    check_out_of_fold({"ridge": out_of_fold(study, COLUMNS)}, study)
    parts = out_of_fold(study, COLUMNS).source.parts
    elsewhere = tuple(
        View(source=table("radiomics").source, transforms=p.transforms) for p in parts
    )
    for source in (elsewhere, tuple(View(p.source, p.transforms[:-1]) for p in parts)):
        view = View(source=type(out_of_fold(study, COLUMNS).source)(parts=source))
        with pytest.raises(FormError):
            check_out_of_fold({"ridge": view.then(Sigmoid(a=-1.0, b=0.0))}, study)
    with pytest.raises(FormError):
        check_models({"ridge": parts[0]}, study)


def test_it_does_not_widen_what_the_machines_may_ask(study: Study) -> None:
    without = study.model_copy(update={"base_models": ("clinical",), "model_options": {}})
    assert machine_views(study, "clinical") == machine_views(without, "clinical")


@pytest.mark.usefixtures("example")
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"ridge"]', '"rigde"]', 'unknown model "rigde" (did you mean "ridge"?); the models are'),
        ('"ridge"]', '"fusion_decision"]', "fuses other models: name it among fusion_models"),
        ('["fusion_feature"', '["ridge"', "fuses no other models: name it among base_models"),
        ("penalties = [0.5]", "penalties = [0]", "ridge: penalties.0: Input should be greater"),
        ("penalties = [0.5]", "penalty = 1", 'ridge: unknown key "penalty"; did you mean'),
        ("options.ridge]", "options.lasso]", '"lasso" is none of the study\'s models'),
    ],
)
def test_a_wrong_name_or_setting_is_explained(
    old: str, new: str, said: str, tabular_master: Path
) -> None:
    text = text_of(tabular_master)
    assert text.count(old) == 1
    with pytest.raises(InputError) as refused:
        parse_study(text.replace(old, new))
    assert said in str(refused.value)


def test_settings_survive_the_way_to_a_site(study: Study, tmp_path: Path) -> None:
    again = load_study(write_study(study, tmp_path / "study.toml"))
    assert again.digest() == study.digest()
    assert again.model_options["ridge"] == study.model_options["ridge"]
    defaults = parse_study(study_text_without_options(tmp_path))
    assert defaults.model_options["ridge"].model_dump()["columns"] == ("age", "stage")


def study_text_without_options(folder: Path) -> str:
    text = (folder / "study.toml").read_text(encoding="utf-8")
    head, _, rest = text.partition("[model_options.ridge]")
    return head + rest[rest.index("\n[") :]


def test_a_name_belongs_to_one_model(study: Study) -> None:
    with pytest.raises(TypeError, match="two models are called ridge"):
        register(phase_of("ridge"))


@pytest.mark.usefixtures("example")
def test_without_the_file_the_study_is_refused_with_the_models_there_are(
    tabular_master: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(MODELS, "ridge")
    with pytest.raises(InputError, match=r'unknown model "ridge".*clinical, radiomics, dl2d'):
        parse_study(text_of(tabular_master))
