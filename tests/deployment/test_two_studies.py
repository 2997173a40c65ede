"""Two studies of one coordinator and the same hospitals, side by side in a real deployment."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests import builders


@pytest.fixture
def other(stage: Any, tabular_master: Path, tmp_path: Path) -> Any:
    """The same hospitals with a study of other folds and columns."""
    study_file = tmp_path / "study.toml"
    shutil.copyfile(tabular_master / "study.toml", study_file)
    columns = [builders.number("marker"), builders.number("age", unit="years")]
    builders.amend(study_file, name="other", seed=12, strata=[], clinical=columns)
    return stage.with_study(study_file)


def test_two_studies_side_by_side_end_with_the_results_of_each_alone(
    stage: Any, staging: Any, other: Any
) -> None:
    with stage.sites(), stage.run(beside=[other]) as run:
        beside = staging.Run(other, run.screen)
        stage.finishes_as_undisturbed(run)
        other.finishes_as_undisturbed(beside)
    for name, screen in stage.screens.items():
        for one in (run, beside):
            assert f"run {one.folder.name}: takes part in the study" in screen.text, name
    for one in (run, beside):
        assert f"report: {one.folder.path / 'report' / 'index.html'}" in run.screen.text
