"""The paper's own layout: one hospital trains, and an external test set lies at two."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.conftest import write_tabular_hospital
from tests.fixtures.programs import run_simulation

PAGE = Path(__file__).resolve().parents[2] / "docs" / "paper.md"
HEAD = 'name = "layout"\nendpoint = "event"\nbase_models = ["clinical"]\nfusion_models = []\n'
COLUMNS = '[[clinical]]\nname = "marker"\nkind = "continuous"\n[[clinical]]\nname = "sex"\n'
COLUMNS += 'kind = "binary"\nlevels = ["female", "male"]\n'


def words_of_the_page() -> str:
    (found,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return str(found)


def run_study(folder: Path, text: str) -> tuple[int, str]:
    sites = {"qilu": (60, 16, 0), "huaxi": (0, 0, 24), "pkuph": (0, 0, 22), "qfs": (0, 0, 20)}
    for name, sizes in sites.items():
        write_tabular_hospital(folder / name, name, *sizes)
    (folder / "study.toml").write_text(HEAD + text + COLUMNS, encoding="utf-8")
    done = run_simulation(folder, tuple(sites), folder / "run", "--cache", folder / "cache")
    return done.returncode, done.stdout + done.stderr


def test_the_words_of_the_page_make_it_run_and_the_report_warns(tmp_path: Path) -> None:
    code, said = run_study(tmp_path, words_of_the_page())
    assert code == 0, said
    tree = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    assert {row["set"] for row in tree["performance"] if row["auc"] is not None} == {
        *("train", "internal", "external_1", "external_2")
    }
    assert any("not masked (training, external_1)" in warning for warning in tree["warnings"])


def test_without_them_it_is_refused_with_a_remedy(tmp_path: Path) -> None:
    text = words_of_the_page().partition("[privacy]")[0]
    code, said = run_study(tmp_path, text)
    assert code == 1
    assert "masking takes 3" in said and "where_possible" in said
