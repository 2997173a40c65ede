"""Canaries in a whole guarded study of features, with more columns than patients."""

from __future__ import annotations

from pathlib import Path

from sim.sites import with_identities
from tests import builders
from tests.sim.test_verified import run


def test_in_guarded_mode_hardly_a_canary_is_behind_a_matrix_and_all_lie_alone_in_an_interval(
    imaging_master: Path, imaging_cache: Path, tmp_path: Path
) -> None:
    study = builders.amended(
        imaging_master / "study.toml", base_models=["clinical", "radiomics"], fusion_models=[]
    )
    privacy = study.privacy.model_copy(update={"min_rows": 6})
    study = with_identities(study.model_copy(update={"privacy": privacy, "folds": 3}))
    found = run(study, imaging_master, imaging_cache, tmp_path / "run", ("north", "south"))
    rows = {(row["site"], row["decoder"]): row for row in found.results["canaries"]}
    assert {site for site, _ in rows} == {"north", "south", "west"}  # harbour does not train
    for site in ("north", "south"):
        for decoder in ("components", "columns", "differences"):
            row = rows[site, decoder]
            assert row["searched"] >= 1 and row["planted"] == 9
            assert row["chance"] == 0
            # of so small a fold (18 patients, 26 columns) one far out in all columns may be found
            assert row["found"] <= (2 if decoder == "components" else 0)
        # 105 features of 60 patients in 64 intervals each: somewhere each patient is alone
        cells = rows[site, "cells"]
        assert (cells["found"], cells["chance"]) == (9, 0)
        assert cells["patients_found"] == cells["patients"] == 20
    assert {rows["west", decoder]["searched"] for decoder in ("components", "cells")} == {None}
