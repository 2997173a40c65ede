from __future__ import annotations

from pathlib import Path

from common.study import load_study, parse_study
from sim.references import write_study


def test_a_written_study_is_the_same_study(tmp_path: Path) -> None:
    study = parse_study("""
name = "s"
endpoint = "event"
sites = [{ name = "a" }, { name = "b" }]
test_sets = [{ name = "internal", split = "internal_test", sites = ["a"] }]
[[clinical]]
name = "age"
kind = "continuous"
decimals = 0
[[clinical]]
name = "marker"
kind = "continuous"
""")
    again = load_study(write_study(study, tmp_path / "input" / "study.toml"))
    assert again == study
    assert again.digest() == study.digest()
