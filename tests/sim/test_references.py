from __future__ import annotations

from pathlib import Path

from client.site import load_site
from common.disclosure import stricter
from common.study import load_study, parse_study
from common.study_file import write_study
from sim.references import local_study, pooled_settings, pooled_study
from sim.sites import place_sites, write_site


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


PRIVACY = '[privacy]\nmode = "faithful"\nmin_category = 7\nmin_rows = 30\nmasking = "required"\n'
WITH_PRIVACY = """
name = "s"
endpoint = "event"
sites = [{ name = "a" }, { name = "b" }, { name = "c" }]
test_sets = [{ name = "internal", split = "internal_test", sites = ["a"] }]
clinical = [{ name = "age", kind = "continuous" }]
"""


def test_references_refuse_nothing_and_keep_what_shapes_the_input() -> None:
    study = parse_study(WITH_PRIVACY + PRIVACY)
    pooled, local = pooled_study(study).privacy, local_study(study, "b").privacy
    for reference in (pooled, local):
        assert (reference.min_rows, reference.min_cell, reference.masking) == (1, 0, "off")
        assert reference.min_rank_others == study.privacy.min_rank_others
        assert reference.mode == "faithful"
    assert (pooled.min_category, local.min_category) == (7, 0)


def test_the_imagined_hospital_agrees_to_the_mode_and_asks_for_nothing_else(
    tmp_path: Path,
) -> None:
    study = parse_study(WITH_PRIVACY + PRIVACY)
    written = write_site(tmp_path, pooled_settings(study, tmp_path, tmp_path / "cache"))
    own = load_site(written).privacy
    reference = pooled_study(study).privacy
    assert stricter(reference, own) == reference
    assert stricter(reference, None).mode == "guarded"


def test_a_hospitals_own_threshold_survives_placing_and_stands_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "site.toml").write_text('name = "a"\n[privacy]\nmin_rows = 40\n', encoding="utf-8")
    (placed,) = place_sites(
        {"a": folder}, tmp_path / "run", tmp_path / "cache", exclude_bad_patients=False
    ).values()
    own = load_site(placed).privacy
    assert own is not None and own.model_fields_set == {"min_rows"}
