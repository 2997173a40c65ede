"""A hospital validates the models of a study, and the coordinator collects what it sends."""

from __future__ import annotations

import csv
import json
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from common.bundle.bundle import read_files
from common.errors import InputError, SignatureError, StudyError
from common.evaluation.delong import logit_estimate
from common.evaluation.random_effects import random_effects
from common.masking import identity
from common.messages.validation import ValidationReport
from server.commands.collect import receive, tree_of
from server.report.results import parse, read
from sim.sites import COORDINATOR, simulated_identity
from tests.fixtures.programs import run_program, run_simulation

KEY = identity.public_text(simulated_identity(COORDINATOR).public_key())


@pytest.fixture(scope="module")
def run(tabular_master: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose set external_1 lies at hospital c alone."""
    folder = tmp_path_factory.mktemp("validated")
    out, sites = folder / "run", folder / "hospitals"
    shutil.copytree(tabular_master, sites)
    with (sites / "study.toml").open("a", encoding="utf-8") as file:
        file.write("\n[analysis]\nthresholds = [0.12, 0.38]\n")
    done = run_simulation(sites, ("a", "b", "c"), out)
    assert done.returncode == 0, done.stderr
    return out


def cohort_of(source: Path, folder: Path, **changes: Any) -> Path:
    """Only the external patients of a hospital, as another hospital's whole cohort."""
    folder.mkdir(parents=True, exist_ok=True)
    with (source / "cohort.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "external_test"]
    rows = rows[: changes.pop("first", len(rows))]
    for row in rows:
        row.update(changes)
        del row["split"]
    with (folder / "cohort.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "cohort.csv"


def call(run: Path, cohort: Path, out: Path, *more: object) -> Any:
    own = ("--cohort", cohort, "--out", out, "--coordinator-key", KEY, "--hospital", "outside")
    return run_program("client", "validate", run / "bundle", *own, *more)


@pytest.fixture(scope="module")
def sent(run: Path, tabular_master: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outside")
    ended = call(run, cohort_of(tabular_master / "c", folder), folder / "out")
    assert ended.returncode == 0, ended.stderr
    return folder / "out" / "validation.json"


def test_the_file_has_the_figures_that_the_study_itself_gives_for_the_hospital(
    run: Path, sent: Path
) -> None:
    found = parse(tree_of(receive([sent], read_files(run / "bundle")), read(run / "results.json")))
    wanted = read(run / "results.json")
    for table in ("performance", "calibration", "decision_curve", "roc"):
        own = [row for row in getattr(found, table) if row.set == "outside"]
        theirs = [row for row in getattr(wanted, table) if row.set == "external_1"]
        assert own, table
        for one, other in zip(own, theirs, strict=True):
            a, b = one.model_dump(), other.model_dump()
            assert a.pop("set") != b.pop("set")
            assert_close(a, b)


def assert_close(a: Any, b: Any) -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_close(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_close(one, other)
    elif isinstance(a, float):
        assert a == pytest.approx(b, abs=1e-9)
    else:
        assert a == b


def test_the_file_holds_no_patient_and_no_exact_score(sent: Path, tabular_master: Path) -> None:
    text = sent.read_text(encoding="utf-8")
    with (tabular_master / "c" / "cohort.csv").open(encoding="utf-8", newline="") as file:
        patients = list(csv.DictReader(file))
    for patient in patients:
        assert f'"{patient["patient_id"]}"' not in text
        assert patient["marker"] not in text
    page = (sent.parent / "index.html").read_text(encoding="utf-8")
    assert "For this hospital alone" in page and "validation.json" in page
    assert "thresholds of the study, 12 to 38 %" in page
    (curves,) = re.findall(r'id="decision".*?</svg>', page, flags=re.DOTALL)
    ticks = [int(text) for text in re.findall(r">(\d+)</text>", curves)]
    assert ticks == [15, 20, 25, 30, 35]
    assert sent.parent.stat().st_mode & 0o077 == 0


def test_two_calls_sign_with_one_key(run: Path, sent: Path, tabular_master: Path) -> None:
    first = ValidationReport.read(sent)
    cohort = sent.parent.parent / "cohort.csv"
    assert call(run, cohort, sent.parent).returncode == 0
    second = ValidationReport.read(sent)
    assert second.identity_key == first.identity_key
    assert second.signature == first.signature  # the same patients give the same file


def test_a_second_file_over_nearly_the_same_patients_is_not_made_once_one_was_sent(
    run: Path, tabular_master: Path, tmp_path: Path
) -> None:
    whole = cohort_of(tabular_master / "c", tmp_path / "all")
    lines = whole.read_text(encoding="utf-8").splitlines(keepends=True)
    fewer = tmp_path / "cohort.csv"
    names = lines[0].strip().split(",")
    table = [dict(zip(names, line.strip().split(","), strict=True)) for line in lines]
    gone = next(at for at in range(len(lines) - 1, 0, -1) if table[at]["age"])
    fewer.write_text("".join(lines[:gone] + lines[gone + 1 :]), encoding="utf-8")
    assert call(run, whole, tmp_path / "out").returncode == 0
    first = (tmp_path / "out" / "validation.json").read_bytes()
    ended = call(run, fewer, tmp_path / "out")
    assert ended.returncode == 1 and "--not-sent" in ended.stderr
    assert (tmp_path / "out" / "validation.json").read_bytes() == first
    assert call(run, fewer, tmp_path / "out", "--not-sent").returncode == 0
    both = [json.loads(first), json.loads((tmp_path / "out" / "validation.json").read_bytes())]
    age = next(i for i, one in enumerate(both[0]["case_mix"]) if one["column"] == "age")
    mix = [one["case_mix"][age] for one in both]
    missing = sum(not row["age"] for row in table[1:])
    first_n, second_n = (one["patients"] - missing for one in both)
    found = mix[0]["mean"] * first_n - mix[1]["mean"] * second_n
    assert found == pytest.approx(float(table[gone]["age"]))  # what both would show


def test_of_too_few_patients_the_file_says_nothing_but_that(
    run: Path, tabular_master: Path, tmp_path: Path
) -> None:
    ended = call(run, cohort_of(tabular_master / "c", tmp_path, first=6), tmp_path / "out")
    assert ended.returncode == 0
    report = ValidationReport.read(tmp_path / "out" / "validation.json")
    assert report.measures is None and report.case_mix == () and report.withheld
    assert report.patients is None and report.positives is None
    found = receive([tmp_path / "out" / "validation.json"], read_files(run / "bundle"))
    tree = parse(tree_of(found, read(run / "results.json")))
    assert all(row.auc is None for row in tree.performance)
    assert any("tells no measures" in text for text in tree.warnings)


def test_a_patient_that_cannot_be_used_stops_it_unless_the_hospital_says_so(
    run: Path, tabular_master: Path, tmp_path: Path
) -> None:
    cohort = cohort_of(tabular_master / "c", tmp_path)
    lines = cohort.read_text(encoding="utf-8").splitlines()
    lines[1] = lines[1].replace(",male,", ",mal,").replace(",female,", ",femal,")
    cohort.write_text("\n".join(lines) + "\n", encoding="utf-8")
    ended = call(run, cohort, tmp_path / "out")
    assert ended.returncode == 1 and "--exclude-bad-patients" in ended.stderr
    assert not (tmp_path / "out" / "validation.json").exists()
    assert call(run, cohort, tmp_path / "out", "--exclude-bad-patients").returncode == 0
    assert ValidationReport.read(tmp_path / "out" / "validation.json").left_out == 1


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [("label", "2", "write 1 = with the finding"), ("label", "1", "the same label")],
)
def test_labels_that_cannot_be_are_named(
    run: Path, tabular_master: Path, tmp_path: Path, column: str, value: str, said: str
) -> None:
    cohort = cohort_of(tabular_master / "c", tmp_path, **{column: value})
    ended = call(run, cohort, tmp_path / "out")
    assert ended.returncode == 1 and said in ended.stderr.replace("\n", " ")


def test_a_bundle_of_somebody_else_is_refused(
    run: Path, tabular_master: Path, tmp_path: Path
) -> None:
    shutil.copytree(run / "bundle", tmp_path / "run" / "bundle")
    file = tmp_path / "run" / "bundle" / "bundle.json"
    file.write_text(file.read_text(encoding="utf-8").replace("clinical", "clinical "))
    cohort = cohort_of(tabular_master / "c", tmp_path)
    ended = call(tmp_path / "run", cohort, tmp_path / "out")
    assert ended.returncode == 1 and "not as it was signed" in ended.stderr.replace("\n", " ")


def hospitals(sent: Path, folder: Path, names: str) -> list[Path]:
    """Files of hospitals with other areas, each under a key of its own."""
    made = []
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(3)
    for name in names:
        report = ValidationReport.read(sent)
        measures = json.loads(json.dumps(report.measures))
        area = measures["delong"]["auc"]["__values__"]
        measures["delong"]["auc"]["__values__"] = [round(a - rng.uniform(0, 0.15), 3) for a in area]
        key = identity.generate()
        changed = report.model_copy(
            update={
                "hospital": name,
                "measures": measures,
                "identity_key": identity.public_text(key.public_key()),
            }
        )
        path = folder / f"{name}.json"
        path.write_bytes(changed.signed_by(key).to_bytes())
        made.append(path)
    return made


def test_five_hospitals_are_summarised_as_an_independent_random_effects_model_does(
    run: Path, sent: Path, tmp_path: Path
) -> None:
    files = hospitals(sent, tmp_path / "files", "vwxyz")
    ended = run_program("server", "collect", run, *files, "--out", tmp_path / "all")
    assert ended.returncode == 0, ended.stderr
    results = read(tmp_path / "all" / "results.json")
    with (tmp_path / "all" / "tables" / "heterogeneity.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["set"] for row in rows} == {"external_validation"}
    for row in rows:
        areas = [r for r in results.site_performance if r.model == row["model"]]
        assert len(areas) == 5
        pairs = []
        for path in files:
            measured = ValidationReport.read(path).evaluation()
            assert measured is not None
            at = ValidationReport.read(path).models.index(row["model"])
            delong = measured.delong
            counts = delong.n - delong.positives, delong.positives
            auc, variance = float(delong.auc[at]), float(delong.covariance[at, at])
            pairs.append(logit_estimate(auc, variance, *counts))
        mean, low, high = paule_mandel(*np.array(pairs).T)
        found = [float(row[name]) for name in ("auc", "ci_low", "ci_high")]
        np.testing.assert_allclose(found, 1 / (1 + np.exp(-np.array([mean, low, high]))), atol=2e-4)
    page = (tmp_path / "all" / "report" / "index.html").read_text()
    assert "external validation" in page and "Expected at a new hospital" in page


def paule_mandel(y: Any, v: Any) -> tuple[float, float, float]:
    """Solve Paule and Mandel's equation by bisection; Hartung and Knapp's interval."""
    from scipy.stats import t

    low, high = 0.0, 100.0
    for _ in range(200):
        tau2 = (low + high) / 2
        w = 1 / (v + tau2)
        mean = (w * y).sum() / w.sum()
        if (w * (y - mean) ** 2).sum() > len(y) - 1:
            low = tau2
        else:
            high = tau2
    w = 1 / (v + low)
    mean = (w * y).sum() / w.sum()
    q = max((w * (y - mean) ** 2).sum() / (len(y) - 1), 1.0)
    half = t.ppf(0.975, len(y) - 1) * np.sqrt(q / w.sum())
    return mean, mean - half, mean + half


def test_a_file_that_was_changed_doubled_or_of_other_models_is_refused(
    run: Path, sent: Path, tmp_path: Path
) -> None:
    files = read_files(run / "bundle")
    changed = tmp_path / "changed.json"
    changed.write_text(sent.read_text(encoding="utf-8").replace('"left_out": 0', '"left_out": 1'))
    with pytest.raises(SignatureError):
        receive([changed], files)
    with pytest.raises(InputError, match="another bundle"):
        receive([sent], {**files, "more": np.zeros(1, np.uint8)})
    with pytest.raises(InputError, match="second file of outside"):
        receive([sent, sent], files)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m["delong"]["auc"].update(__values__=[2.0] * 3),
        lambda m: m["delong"]["auc"].update(shape=[1, 1]),
        lambda m: m.update(__class__="Bundle"),
        lambda m: m["confusion"]["tp"].update(__values__=[-1.0] * 3),
        lambda m: m.pop("brier"),
    ],
)
def test_measures_that_cannot_be_are_refused_whoever_signed_them(
    run: Path, sent: Path, tmp_path: Path, spoil: Any
) -> None:
    tree = json.loads(sent.read_text(encoding="utf-8"))
    spoil(tree["measures"])
    path = signed_anew(tree, tmp_path / "file.json")
    with pytest.raises(InputError, match="cannot read"):
        receive([path], read_files(run / "bundle"))


@pytest.mark.parametrize("positives", [0, "all"])
def test_areas_of_patients_with_one_outcome_are_refused_in_words(
    run: Path, sent: Path, tmp_path: Path, positives: Any
) -> None:
    tree = json.loads(sent.read_text(encoding="utf-8"))
    number = tree["patients"] if positives == "all" else positives
    for own in (tree, *(tree["measures"][name] for name in ("delong", "fit", "decision"))):
        own["positives"] = number
    path = signed_anew(tree, tmp_path / "file.json")
    with pytest.raises(InputError, match="cannot read"):
        receive([path], read_files(run / "bundle"))


def signed_anew(tree: dict[str, Any], path: Path) -> Path:
    """Write what a hospital makes up, under a key of its own."""
    key = identity.generate()
    own = {**tree, "identity_key": identity.public_text(key.public_key())}
    path.write_bytes(ValidationReport.model_validate(own).signed_by(key).to_bytes())
    return path


SPOILT = [
    *[None, True, -1, 0.5, 1e308, 10**30, "inf", "-inf", "nan", "=1+1", [], {}],
    *[{"__values__": [1e308] * 4, "shape": [4]}, {"__values__": [], "shape": [0]}],
    {"__values__": [], "shape": [10**9, 0]},
]


def places(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where values stand in a tree, of long lists the first two."""
    yield at
    if isinstance(tree, dict | list):
        parts = tree.items() if isinstance(tree, dict) else enumerate(tree[:2])
        for key, part in parts:
            yield from places(part, (*at, key))


@pytest.mark.parametrize("seed", range(4))
def test_whatever_stands_in_a_file_it_is_refused_in_words_or_can_be_summarised(
    run: Path, sent: Path, tmp_path: Path, seed: int
) -> None:
    text = sent.read_text(encoding="utf-8")
    files, base = read_files(run / "bundle"), read(run / "results.json")
    everywhere = [at for at in places(json.loads(text)) if at]
    refused, drawn = 0, random.Random(seed)  # noqa: S311
    for at in drawn.sample(everywhere, 60):
        tree = json.loads(text)
        within = tree
        for key in at[:-1]:
            within = within[key]
        within[at[-1]] = drawn.choice(SPOILT)
        try:
            file = signed_anew(tree, tmp_path / "f.json")
        except ValidationError:  # what the hospital's own program does not write
            refused += 1
            continue
        try:
            parse(tree_of(receive([file], files), base))
        except StudyError:
            refused += 1
    assert refused >= 30


@pytest.mark.parametrize(
    "spoil",
    [
        lambda tree: tree["case_mix"][0].update(training_mean=0.0),
        lambda tree: tree["case_mix"][0].update(column="=HYPERLINK(1)"),
        lambda tree: tree["case_mix"].append(tree["case_mix"][0]),
        lambda tree: tree["cutoffs"].update(clinical=0.99),
        lambda tree: tree["cutoffs"].update(another=0.5),
    ],
)
def test_a_hospital_does_not_say_what_the_models_and_the_training_patients_are(
    run: Path, sent: Path, tmp_path: Path, spoil: Any
) -> None:
    tree = json.loads(sent.read_text(encoding="utf-8"))
    spoil(tree)
    with pytest.raises(InputError, match="not those of the bundle"):
        receive([signed_anew(tree, tmp_path / "f.json")], read_files(run / "bundle"))


def test_a_summary_needs_three_hospitals(run: Path, sent: Path, tmp_path: Path) -> None:
    files = hospitals(sent, tmp_path / "files", "vw")
    tree = parse(tree_of(receive(files, read_files(run / "bundle")), read(run / "results.json")))
    assert len({row.site for row in tree.site_performance}) == 2
    with pytest.raises(ValueError, match="3 estimates"):
        random_effects(np.array([0.1, 0.2]), np.array([0.1, 0.1]))


def test_the_page_shows_slope_and_intercept_of_a_logistic_regression(
    run: Path, sent: Path, tabular_master: Path
) -> None:
    """Fitted anew by iteratively reweighted least squares, on what `predict` gives."""
    cohort = sent.parent.parent / "cohort.csv"
    own = ("--coordinator-key", KEY, "--cohort", cohort, "--json")
    tree = json.loads(run_program("client", "predict", run / "bundle", *own).stdout)
    with cohort.open(encoding="utf-8", newline="") as file:
        label = {row["patient_id"]: float(row["label"]) for row in csv.DictReader(file)}
    p = np.array([one["models"][0]["probability"] for one in tree["patients"]])
    y = np.array([label[one["patient"]] for one in tree["patients"]])
    x = np.column_stack([np.ones(y.size), np.log(p / (1 - p))])
    beta = np.zeros(2)
    for _ in range(50):
        mean = 1 / (1 + np.exp(-x @ beta))
        weights = mean * (1 - mean)
        beta += np.linalg.solve(x.T @ (weights[:, None] * x), x.T @ (y - mean))
    page = (sent.parent / "index.html").read_text(encoding="utf-8")
    assert f"{beta[1]:.3f}" in page and f"{beta[0]:.3f}".replace("-", "\N{MINUS SIGN}") in page
