"""The command that writes a dossier, and the file in a run's folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from common.dossier import general_dossier, study_dossier
from common.study.model import load_study
from server.cli import app
from server.commands.dossier import DOSSIER, dossier_of, write_dossier
from server.phases.program import declared_phases

LINKED = {"patients": 120, "unique": 18}
TRANSFERS = """run,site,exchange,phase,rounds,messages,bytes_up,bytes_down
federated,a,query.sum,clinical,7,7,1500,1
pooled,pooled,query.sum,clinical,9,9,999999,1
"""


def test_the_command_prints_the_general_dossier_or_that_of_a_study(tabular_master: Path) -> None:
    path = tabular_master / "study.toml"
    assert CliRunner().invoke(app, ["dossier"]).stdout == general_dossier()
    printed = CliRunner().invoke(app, ["dossier", str(path)]).stdout
    study = load_study(path)
    assert printed == study_dossier(study, declared_phases(study))


def test_the_command_writes_a_file(tmp_path: Path) -> None:
    out = tmp_path / "new" / "dossier.md"
    done = CliRunner().invoke(app, ["dossier", "--out", str(out)])
    assert done.exit_code == 0
    assert out.read_text(encoding="utf-8") == general_dossier()


def test_the_folder_of_a_run_gives_what_the_federated_run_sent(
    tabular_master: Path, tmp_path: Path
) -> None:
    (tmp_path / "study.toml").write_text((tabular_master / "study.toml").read_text())
    assert "rounds measured" not in dossier_of(tmp_path)
    (tmp_path / "transfers.csv").write_text(TRANSFERS)
    (line,) = [x for x in dossier_of(tmp_path).splitlines() if x.startswith("| `clinical` |")]
    assert line.endswith("| 7 | 1.5 kB |")


def test_the_folder_of_a_run_gives_the_figures_of_its_audit(
    tabular_master: Path, tmp_path: Path
) -> None:
    (tmp_path / "study.toml").write_text((tabular_master / "study.toml").read_text())
    assert "Row linkage: of" not in dossier_of(tmp_path)
    rows = [{"run": "pooled", "patients": 9, "unique": 9}, {"run": "federated", **LINKED}]
    (tmp_path / "results.json").write_text(json.dumps({"linkage": rows}))
    text = dossier_of(tmp_path)
    assert text.count("Row linkage: of") == 1
    assert "Row linkage: of 120 patients with a pooled row, 18 have exactly one" in text


@pytest.mark.parametrize(("label", "written"), [("federated", True), ("local:a", False)])
def test_only_a_federated_run_gets_a_dossier(
    label: str, written: bool, tabular_master: Path, tmp_path: Path
) -> None:
    write_dossier(load_study(tabular_master / "study.toml"), tmp_path, label)
    assert (tmp_path / DOSSIER).is_file() is written
