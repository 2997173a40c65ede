"""The dossier of a study has its real numbers and hides nothing that is open."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from common import dossier
from common.dossier.markdown import shape, size, table
from common.dossier.of_study import thresholds, unprotected
from common.masking import identity
from common.masking.leaving import LeftSite
from common.study.harmonisation import HarmonisationSettings
from common.study.model import PrivacySettings, Study
from server.phases.program import declared_phases
from tests import builders

KEY = identity.generate().public_key()


INSIDE, OUTSIDE = ("internal_test", "abc"), ("external_test", "d")


def study_with(**overrides: Any) -> Study:
    return builders.study(
        **{
            "preset": "paper",
            **builders.ALL_MODELS,
            "sites": [{"name": "a", "public_key": identity.public_text(KEY)}, "b", "c"],
            "visitors": "d",
            "tests": {"inside": INSIDE, "outside": OUTSIDE},
            "clinical": [
                builders.number("age", unit="years"),
                builders.levels("stage", "T1", "T2", "T3", "T4", kind="categorical"),
            ],
            **overrides,
        }
    )


def study_dossier(study: Study, transfers: Sequence[Mapping[str, object]] = ()) -> str:
    return dossier.study_dossier(study, declared_phases(study), transfers)


def row(text: str, section: str, first: str) -> list[str]:
    """Cells of the row that begins with `first`, in a section."""
    body = text.split(f"\n### {section}\n")[1].split("\n### ")[0]
    (line,) = [line for line in body.splitlines() if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_hospitals_stand_with_role_sets_and_fingerprint() -> None:
    text = study_dossier(study_with())
    assert f"| a | yes | inside | `{identity.fingerprint(KEY)}` |" in text
    assert "| d | no | outside | no key in the study file |" in text
    assert "4 hospitals, of which 3 train: a, b, c [" in text


def test_sizes_are_those_of_the_study() -> None:
    text = study_dossier(study_with())
    # 1834 features: 1834 * 1835 / 2 products a fold, of 8 bytes
    cells = row(text, "radiomics", "`FoldGram`")
    assert cells[2] == "1,834"
    assert "gram: 5 x 1,682,695" in cells[3]
    assert cells[4] == size(8 * 5 * (1682695 + 2 * 1834 + 3)) == "67 MB"
    # a ResNet-50 in 2D: 23.5 million weights of 4 bytes, 5 folds and the final training, 50 rounds
    cells = row(text, "dl2d", "change of the weights")
    assert "parameters: 23,563,201" in cells[3]
    assert cells[4:6] == ["95 MB", "300"]


@pytest.mark.parametrize("masked", [True, False])
def test_masked_is_what_the_study_masks(masked: bool) -> None:
    text = study_dossier(study_with(privacy={} if masked else {"masking": "off"}))
    assert row(text, "radiomics", "`FoldGram`")[-1] == ("yes" if masked else "no")
    assert ("**Masking is off.**" in text) is not masked


def test_a_set_at_one_hospital_is_named_and_not_called_masked() -> None:
    text = study_dossier(study_with())
    assert "**`outside` lies at one hospital.** Its tables and measures are those of d" in text
    assert row(text, "table1", "`ProtectedLevelCounts`")[1] == "outside"
    assert row(text, "table1", "`ProtectedLevelCounts`")[-1] == "no"


def test_a_set_at_two_hospitals_is_named() -> None:
    two = {"inside": INSIDE, "outside": ("external_test", "cd")}
    where_possible = study_with(tests=two, privacy={"masking": "where_possible"})
    open_words = " ".join(unprotected(where_possible))
    assert "**Sums over `outside` are not masked.**" in open_words
    assert "only c and d have such patients" in open_words
    assert "does not run" not in open_words
    assert "does not run" in " ".join(unprotected(study_with(tests=two)))


def test_rows_are_owned_up_to_or_absent() -> None:
    with_rows = study_dossier(study_with())
    assert "**Rows leave.**" in with_rows
    assert row(with_rows, "fusion_decision", "out-of-fold probabilities and outcomes")[3] == (
        "probabilities: patients of all hospitals x 5<br>labels: patients of all hospitals"
        "<br>own places: patients of all hospitals"
    )
    with_bins = study_dossier(study_with(fusion={"pooling": "bins"}))
    assert "**Rows leave.**" not in with_bins
    assert "query.rows" not in with_bins
    assert "`NodeCounts`" in with_bins


def test_faithful_mode_and_weaker_thresholds_are_said() -> None:
    words = " ".join(unprotected(study_with(privacy={"mode": "faithful", "min_rows": 4})))
    assert "**Values enter Gram matrices as they are**" in words
    assert "`min_rows` 4 (release 10)" in words
    guarded = " ".join(unprotected(study_with()))
    assert "enter Gram matrices as they are" not in guarded
    assert "Weaker" not in guarded


@pytest.mark.parametrize("name", PrivacySettings.model_fields)
def test_every_threshold_says_what_it_protects(name: str) -> None:
    (row,) = [one for one in thresholds(PrivacySettings()).splitlines() if f"| `{name}` |" in one]
    assert row.split("|")[4].strip()


def test_the_shape_of_networks_is_said_and_a_wide_one_is_called_so() -> None:
    wide = {"widths": [64, 128, 256, 1024], "unusual": True}
    usual, unusual = study_with(), study_with(dl2d=wide)
    line = "first layer 7 voxels wide, stages of 64, 128, 256, 512 channels ["
    assert study_dossier(usual).count(line) == 2
    assert "256, 1024 channels, WIDER THAN IN ANY RELEASED PRESET [" in study_dossier(unusual)
    assert "**Unusually wide networks:** `dl2d`:" in " ".join(unprotected(unusual))
    assert "wide networks" not in " ".join(unprotected(usual))


def test_every_study_owns_up_to_models_totals_and_false_answers() -> None:
    words = " ".join(unprotected(study_with()))
    for open_point in (
        "membership inference",
        "attribute inference",
        "make up totals",
        "False answers",
    ):
        assert open_point in words
    assert "if the coordinator works together with 2, it knows the sums of the last one" in words


@pytest.mark.parametrize(
    "unmasked", [{"masking": "off"}, {"masking": "where_possible"}], ids=["off", "two_train"]
)
def test_a_study_in_which_nothing_is_derived_says_so(unmasked: dict[str, Any]) -> None:
    sites = [{"name": "a"}, "b", {"name": "c", "trains": False}]
    two = unmasked["masking"] == "where_possible"
    study = study_with(
        privacy=unmasked, fusion={"pooling": "bins"}, **({"sites": sites} if two else {})
    )
    assert "Questions are NOT derived" in study_dossier(study)
    assert "No hospital derives the questions" in " ".join(unprotected(study))
    derived = study_with()
    assert "Questions are derived: each hospital" in study_dossier(derived)
    assert "No hospital derives" not in " ".join(unprotected(derived))
    assert "can make up totals and questions" in " ".join(unprotected(derived))


def test_a_hospital_that_left_and_what_its_word_gives_away_are_said() -> None:
    statement = LeftSite.sign(identity.generate(), "e", "0" * 64)
    left = study_with().model_copy(update={"left": (statement, statement)})
    (words,) = [one for one in unprotected(left) if "left for good" in one]
    assert words.startswith("**e left for good.** It has signed that its own sums may be found")
    assert "left for good" not in " ".join(unprotected(study_with()))


def test_every_clinical_column_says_how_many_columns_of_the_model_it_becomes() -> None:
    study = study_with()
    body = study_dossier(study).split("## Clinical columns\n")[1].split("\n## ")[0]
    made = [int(line.strip("| ").rsplit("|", 1)[1]) for line in body.splitlines()[3:] if line]
    assert made == [1, 3]
    assert sum(made) == len(study.clinical_columns)


def test_a_finished_run_shows_what_was_sent_beside_the_bound() -> None:
    transfers = [
        {"site": s, "exchange": e, "phase": "clinical", "rounds": r, "bytes_up": up}
        for s, e, r, up in (("a", "query.sum", 9, 700), ("b", "query.sum", 9, 1500))
    ]
    text = study_dossier(study_with(), transfers)
    (line,) = [line for line in text.splitlines() if line.startswith("| `clinical` |")]
    assert line.endswith("| 9 | 1.5 kB |")


def test_phases_are_those_of_the_models_asked_for() -> None:
    small = study_with(base_models=["clinical"], fusion_models=[])
    names = [phase.name for phase in declared_phases(small)]
    assert names == ["enrolment", "table1", "clinical", "fusion_decision", "evaluation"]
    assert "`train.network`" not in study_dossier(small)


def test_no_table_is_broken() -> None:
    text = study_dossier(study_with())
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert len(tables) > 8
    for one in tables:
        assert len({line.count("|") for line in one.splitlines()}) == 1


def test_writing_a_dossier_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'sklearn', 'flwr'} & set(sys.modules)"
    code = f"import sys, common.dossier, server.phases.program; sys.exit(bool({heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_numbers_are_written_for_readers() -> None:
    assert [size(n) for n in (0, 999, 1000, 1250, 67_300_000, 999_700)] == [
        "0 B", "999 B", "1.0 kB", "1.2 kB", "67 MB", "1.0 MB",
    ]  # fmt: skip
    assert shape((5, 1682695)) == "5 x 1,682,695"
    assert shape(()) == "1"


def test_a_bar_in_a_cell_does_not_make_another_cell() -> None:
    assert table(["x"], [["a|b"]]).splitlines()[-1] == "| a\\|b |"
    with pytest.raises(ValueError, match="2 cells under 1 headings"):
        table(["x"], [["a", "b"]])


def test_harmonised_features_and_what_stays_at_the_hospital_are_said() -> None:
    study = study_with()
    assert "harmonised over" not in study_dossier(study)
    own = HarmonisationSettings(tables=("radiomics", "deep"), batch="scanner")
    study = study.model_copy(update={"harmonisation": own})
    text = study_dossier(study)
    assert "radiomics and network features are harmonised over scanners" in text
    assert "WithinBatches" in text


def test_what_becomes_of_times_stands_in_the_dossier_of_a_study_that_has_them() -> None:
    grid = {"column": "months", "ends": [6.0, 12.0], "horizons": [6.0]}
    text = study_dossier(builders.study(follow_up=grid))
    assert "puts it on periods that end at 6, 12 before anything is computed" in text
    assert "CoxGradient" in text and "SvmGradient" not in text
    assert "periods that end at" not in study_dossier(builders.study())
