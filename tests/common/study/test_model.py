"""The study file: presets, defaults, digest, and errors that a person can act on."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from common.disclosure.differencing import check_test_sets_apart
from common.errors import InputError
from common.presets import preset_text
from common.study.model import Study, load_study, parse_study
from common.study.networks import WIDEST
from tests import builders

MINIMAL = """
name = "s"
endpoint = "event"
sites = [{ name = "a" }, { name = "b" }]
test_sets = [{ name = "internal", split = "internal_test", sites = ["a"] }]
clinical = [{ name = "age", kind = "continuous" }]
"""


def test_sets_that_differ_by_a_site_are_refused_before_anything_runs() -> None:
    three = {"three": ("internal_test", "abc")}
    alike = builders.study(sites="abcd", tests=three | {"four": ("internal_test", "abcd")})
    other = builders.study(sites="abcd", tests=three | {"four": ("external_test", "abcd")})
    with pytest.raises(
        InputError, match="three and four hold the same patients but for those of d"
    ):
        check_test_sets_apart(alike, where="study.toml")
    check_test_sets_apart(other, where="study.toml")


def seven_sites(sets: dict[str, str], split: str = "internal_test") -> Study:
    """Seven sites, of which the last does not train, and test sets over the sites named."""
    tests = {name: (split, members) for name, members in sets.items()}
    return builders.study(sites="abcdef", visitors="g", tests=tests)


def test_sets_that_tell_of_a_site_only_together_are_refused_by_name() -> None:
    fano = ("abc", "ade", "afg", "bdf", "beg", "cdg", "cef")
    with pytest.raises(InputError, match="give those of b and c away") as caught:
        check_test_sets_apart(
            seven_sites({f"t{i}": sites for i, sites in enumerate(fano)}), where="study.toml"
        )
    assert "test sets t3, t4, t5 and t6 hold" in str(caught.value)
    assert "fewer of these sets" in str(caught.value)
    check_test_sets_apart(seven_sites({"t0": "abc", "t1": "def", "t2": "abcdef"}), where="s")


def test_a_test_set_of_training_patients_is_compared_with_the_training_itself() -> None:
    with pytest.raises(InputError, match="train and five hold the same patients but for those"):
        check_test_sets_apart(seven_sites({"five": "abcde"}, split="train"), where="study.toml")
    check_test_sets_apart(seven_sites({"six": "abcdef"}, split="train"), where="study.toml")


FULL = """
name = "s"
endpoint = "event"
strata = ["sex"]
sites = [{ name = "a", public_key = "KEY" }, { name = "b" }]
test_sets = [{ name = "i", split = "internal_test", sites = ["a"], origins = ["ward"] }]
clinical = [
    { name = "age", kind = "continuous", unit = "years", missing = ["unknown"] },
    { name = "sex", kind = "binary", levels = ["female", "male"] },
]
[radiomics]
settings = "radiomics-1834"
"""


@pytest.mark.parametrize("odd", ["\\u001b[8m", "\\n", "\\r", "\\u202e", "\\u009b8m", "\\u200b"])
@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("event", "endpoint"),
        ("years", "clinical.0.unit"),
        ("unknown", "clinical.0.missing"),
        ("female", "clinical.1.levels"),
        ("ward", "test_sets.0.origins"),
        ("KEY", "sites.0.public_key"),
        ("radiomics-1834", "radiomics.settings"),
    ],
)
def test_a_text_that_does_not_print_on_one_line_is_refused_with_its_field(
    text: str, field: str, odd: str
) -> None:
    parse_study(FULL)
    with pytest.raises(InputError) as refused:
        parse_study(FULL.replace(text, text + odd, 1))
    message = str(refused.value)
    assert f"{field}: holds characters that do not print (U+" in message
    assert "write plain text on one line" in message
    assert message.isprintable()


def test_an_unknown_key_that_does_not_print_is_told_in_letters() -> None:
    with pytest.raises(InputError) as refused:
        parse_study(MINIMAL + '"x\\u001b[8m\\n" = 1\n')
    assert str(refused.value).isprintable()
    assert "x\\x1b[8m\\n" in str(refused.value)


def test_the_paper_preset_spells_out_the_defaults() -> None:
    assert parse_study(MINIMAL + 'preset = "paper"\n') == parse_study(MINIMAL)
    written = tomllib.loads(preset_text("paper"))
    blocks = [name for name, value in written.items() if isinstance(value, dict)]
    for block in blocks:
        assert set(written[block]) == set(getattr(parse_study(MINIMAL), block).model_dump())


def test_the_papers_own_numbers_are_the_defaults() -> None:
    study = parse_study(MINIMAL)
    assert (study.imaging.window, study.imaging.level) == (350, 50)
    assert (study.imaging.crop2d_size, study.dl2d.input_size, study.imaging.crop3d_size) == (
        256,
        224,
        96,
    )
    assert (study.dl3d.rounds, study.dl3d.learning_rate) == (300, 0.02)
    assert (study.dl2d.batch_size, study.dl2d.learning_rate) == (64, 1e-4)
    assert (study.selection.spearman_threshold, study.selection.icc_threshold) == (0.9, 0.75)
    assert study.selection.pca_components == 256
    assert study.radiomics.expected_features == 1834
    assert study.fusion.stacker == "forest"


@pytest.mark.parametrize("network", ["dl2d", "dl3d"])
def test_what_a_network_leaves_out_is_the_papers(network: str) -> None:
    written = getattr(parse_study(MINIMAL + f"[{network}]\nlocal_steps = 5\n"), network)
    paper = getattr(parse_study(MINIMAL), network)
    assert written == paper.model_copy(update={"local_steps": 5})


def test_a_preset_is_laid_under_what_the_file_says() -> None:
    study = parse_study(MINIMAL + 'preset = "phantom"\n[dl3d]\nrounds = 3\n')
    assert study.dl3d.rounds == 3
    assert study.dl3d.block == "basic"


def test_the_robust_preset_changes_the_training_of_networks_alone() -> None:
    robust, paper = parse_study(MINIMAL + 'preset = "robust"\n'), parse_study(MINIMAL)
    same = {"dl2d": paper.dl2d, "dl3d": paper.dl3d}
    assert robust.model_copy(update=same) == paper
    for network, before in ((robust.dl2d, paper.dl2d), (robust.dl3d, paper.dl3d)):
        changed = {k for k, v in network.model_dump().items() if v != before.model_dump()[k]}
        assert changed - {"learning_rate", "select", "patience"} == {
            "schedule",
            "warmup_rounds",
            "gradient_clip",
            "sampling",
            "average_last",
        }
        assert network.learning_rate == 1e-4


def test_a_copy_with_other_values_has_another_digest() -> None:
    study = parse_study(MINIMAL)
    digest = study.digest()
    other = study.model_copy(update={"seed": 2})
    assert other.digest() == parse_study(MINIMAL + "seed = 2\n").digest() != digest
    assert other.model_copy(update={"seed": study.seed}).digest() == digest


def test_the_digest_ignores_comments_and_order_but_not_values() -> None:
    lines = MINIMAL.strip().splitlines()
    shuffled = parse_study("# a comment\n" + "\n".join(lines[::-1]))
    assert shuffled.digest() == parse_study(MINIMAL).digest()
    assert parse_study(MINIMAL + "seed = 2\n").digest() != parse_study(MINIMAL).digest()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour = 1", 'unknown key "colour"'),
        ("[dl3d]\nround = 3", 'unknown key "dl3d.round"; did you mean "rounds"?'),
        ("[dl3d]\nrounds = 0", "dl3d.rounds: Input should be greater than or equal to 1"),
        ("folds = 2", "folds: Input should be greater than or equal to 3"),
        ('preset = "best"', 'unknown preset "best" -> use one of paper, phantom, robust'),
        ("[dl3d]\nstem_kernel = 8", "dl3d.stem_kernel: Input should be less than or equal to 7"),
        (
            "[dl2d]\nwidths = [64, 128, 256, 513]",
            "dl2d: widths above 64, 128, 256, 512 are those of no released preset and could hold"
            " single images: write unusual = true",
        ),
        ('[dl3d]\nnorm = "frozen"', 'dl3d: norm = "frozen" keeps statistics of pretrained weights'),
        (
            "[dl2d]\nclass_weights = [1.0, 0.0]",
            "dl2d.class_weights.1: Input should be greater than 0",
        ),
        ('strata = ["sex"]', "strata: sex is not a clinical column"),
        ("x = = 1", "not valid TOML"),
        (
            '[fusion]\npooling = "bins"\nstacker = "best"',
            'fusion: pooling = "bins" cannot fit stacker = "best": use "forest"',
        ),
        ('[fusion]\npooling = "bins"\nbins = 1', "fusion.bins: Input should be greater than"),
    ],
)
def test_a_wrong_study_file_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_study(MINIMAL + text + "\n")
    assert message in str(caught.value)
    assert "study.toml" in str(caught.value) or "preset" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('sites = ["a"]', 'sites = ["z"]', "internal names the unknown site z"),
        ('{ name = "b" }', '{ name = "a" }', "a site name is used twice"),
        ('kind = "continuous"', 'kind = "binary"', "needs exactly two levels"),
        ('split = "internal_test"', 'split = "test"', "test_sets.0.split"),
        ('name = "s"', "", 'missing key "name"'),
        ('name = "a"', 'name = "../a"', "sites.0.name"),
    ],
)
def test_parts_of_the_study_must_fit_together(old: str, new: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_study(MINIMAL.replace(old, new, 1))
    assert message in str(caught.value)


def test_a_wide_network_is_one_that_the_study_calls_unusual() -> None:
    wide = parse_study(MINIMAL + "[dl2d]\nwidths = [65, 128, 256, 512]\nunusual = true\n")
    assert wide.dl2d.wide
    assert not parse_study(MINIMAL).dl2d.wide
    presets = [
        parse_study(f'preset = "{name}"\n' + MINIMAL) for name in ("paper", "phantom", "robust")
    ]
    widths = [study.network(name).widths for study in presets for name in ("dl2d", "dl3d")]
    assert tuple(map(max, *widths)) == WIDEST


def test_bins_need_no_other_setting_than_pooling() -> None:
    fusion = parse_study(MINIMAL + '[fusion]\npooling = "bins"\n').fusion
    assert (fusion.pooling, fusion.stacker, fusion.bins) == ("bins", "forest", 20)


def test_a_missing_study_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_study(tmp_path / "study.toml")


def test_the_examples_are_valid_studies() -> None:
    root = Path(__file__).resolve().parents[3]
    files = sorted((root / "examples").glob("*/study.toml"))
    assert len(files) == 2
    assert all(isinstance(load_study(path), Study) for path in files)


@pytest.mark.parametrize("line", ['summary = "median"', "decimals = 1"])
def test_summary_and_decimals_are_for_continuous_columns(line: str) -> None:
    head = MINIMAL.replace('clinical = [{ name = "age", kind = "continuous" }]', "")
    good = f'{head}[[clinical]]\nname = "size"\nkind = "continuous"\n{line}\n'
    assert parse_study(good).clinical[0].name == "size"
    with pytest.raises(InputError, match="summary and decimals are for continuous columns"):
        parse_study(good.replace('"continuous"', '"binary"\nlevels = ["a", "b"]'))


def test_only_networks_have_features_of_networks_to_select() -> None:
    with pytest.raises(InputError, match="selects features of networks, and there is none"):
        builders.study(selection={"networks": "show"})
    study = builders.study(base_models=["dl2d"], selection={"networks": "use"})
    assert study.fits_machine("dl2d")
    assert study.reads_network_features
