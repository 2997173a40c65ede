from __future__ import annotations

import csv
import hashlib
import json
import re
import tomllib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import docx
import numpy as np
import pytest
import tomli_w
from rocrate.rocrate import ROCrate

from common.bundle.bundle import Bundle, read_files
from common.errors import InputError, StudyError
from common.statistics.base import Rows
from common.study.model import Study
from common.study.reporting import LONGEST, ReportingFields
from common.transforms.views import materialise
from server.manuscript.write import write_beside, write_manuscript
from server.report.results import parse, read
from tests.fixtures import synthetic_results


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_folder_has_a_page_a_word_file_tables_and_a_card(tmp_path: Path) -> None:
    results = parse(synthetic_results.build())
    found = write_manuscript(results, tmp_path)
    assert set(found.missing) == set(ReportingFields.model_fields)
    page = found.page.read_text(encoding="utf-8")
    for title in ("TRIPOD+AI", "CLAIM (2024)", "Flow of patients (STARD 2015", "Sample size"):
        assert title in page
    addresses = set(re.findall(r'href="([^"#]*)', page))
    assert addresses == {"../report/index.html"} and "src=" not in page
    assert found.document is not None
    document = docx.Document(str(found.document))
    titles = [one.text for one in document.paragraphs if one.style.name == "Heading 1"]
    assert titles[0] == "Characteristics of the patients" and len(set(titles)) == len(titles)
    assert {"Performance: external test set 1", "Calibration: training set"} <= set(titles)
    tables = document.tables
    printed = {cell.text for row in tables[titles.index("Performance: external test set 1")].rows
               for cell in row.cells}  # fmt: skip
    auc = next(r for r in results.performance if (r.run, r.set) == ("federated", "external_1"))
    assert any(text.startswith(f"{auc.auc:.3f}\n{auc.ci_low:.3f}") for text in printed)
    tables = tables[titles.index("TRIPOD+AI") :]
    wanted = lines(tmp_path / "manuscript" / "tripod_ai.csv")
    assert [row.cells[0].text for row in tables[0].rows[1:]] == [row["item"] for row in wanted]
    widths = [column.width for column in tables[0].columns]
    assert widths[2] > 2 * widths[1] > 4 * widths[0]  # answers have the most room
    assert "w:tblHeader" in tables[0].rows[0]._tr.xml
    abstract = lines(tmp_path / "manuscript" / "tripod_ai_abstract.csv")
    assert [row["item"] for row in abstract] == [str(number) for number in range(1, 14)]
    card = (tmp_path / "manuscript" / "model-card.md").read_text(encoding="utf-8")
    assert "*To be written: " in card and "| 0." in card


def test_a_study_without_images_has_no_checklist_of_imaging(tmp_path: Path) -> None:
    found = write_manuscript(parse(synthetic_results.tabular()), tmp_path)
    assert "CLAIM" not in found.page.read_text(encoding="utf-8")
    assert not (tmp_path / "manuscript" / "claim.csv").exists()
    assert "image_acquisition" not in found.missing


def test_answers_written_into_the_file_are_taken_up_and_never_overwritten(tmp_path: Path) -> None:
    results = parse(synthetic_results.build())
    write_manuscript(results, tmp_path)
    file = tmp_path / "manuscript" / "reporting.toml"
    assert set(ReportingFields.model_fields) == set(tomllib.loads(file.read_text()))
    answers = {name: f"<b>{name}</b>" for name in ReportingFields.model_fields}
    file.write_text(tomli_w.dumps(answers), encoding="utf-8")
    found = write_manuscript(results, tmp_path)
    assert found.missing == ()
    page = found.page.read_text(encoding="utf-8")
    assert "&lt;b&gt;ethics&lt;/b&gt;" in page and "<b>ethics</b>" not in page
    assert file.read_text(encoding="utf-8") == tomli_w.dumps(answers)


def test_answers_in_the_study_file_need_no_second_file(tmp_path: Path) -> None:
    tree = synthetic_results.build()
    tree["settings"]["reporting"] = {"ethics": "approved by all committees"}
    found = write_manuscript(parse(tree), tmp_path)
    assert "ethics" not in found.missing
    assert "approved by all committees" in found.page.read_text(encoding="utf-8")
    assert 'ethics = "approved by' in (tmp_path / "manuscript" / "reporting.toml").read_text()


@pytest.mark.parametrize(
    "text", ["ethic = 'x'", "ethics = ", f"ethics = '{'x' * (LONGEST + 1)}'", "ethics = 3"]
)
def test_a_file_of_answers_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "manuscript").mkdir()
    (tmp_path / "manuscript" / "reporting.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"reporting\.toml"):
        write_manuscript(parse(synthetic_results.tabular()), tmp_path)


def break_answers(run: Path) -> None:
    (run / "manuscript" / "reporting.toml").write_text("ethics = ", encoding="utf-8")


def break_encoding(run: Path) -> None:
    (run / "manuscript" / "reporting.toml").write_bytes(b'ethics = "\xff"')


def spoil_bundle(run: Path) -> None:
    (run / "bundle").mkdir()
    (run / "bundle" / "bundle.json").write_text("{}", encoding="utf-8")


def hold_word_file(run: Path) -> None:
    (run / "manuscript" / "manuscript.docx").mkdir()  # as one that another program has open


@pytest.mark.parametrize("spoil", [break_answers, break_encoding, spoil_bundle, hold_word_file])
def test_results_stand_whatever_has_become_of_what_people_edit(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    results = parse(synthetic_results.build())
    (tmp_path / "manuscript").mkdir()
    spoil(tmp_path)
    problem = write_beside(results, tmp_path)
    assert problem.startswith("no new folder manuscript, all else is written: ")
    assert problem.endswith(f"fedlnm-server manuscript {tmp_path}")
    with pytest.raises((StudyError, OSError)):
        write_manuscript(results, tmp_path)


def test_nothing_is_said_where_the_folder_was_written(tmp_path: Path) -> None:
    assert write_beside(parse(synthetic_results.tabular()), tmp_path) == ""


def test_the_flow_adds_up_to_the_patients_of_every_set(tmp_path: Path) -> None:
    write_manuscript(parse(synthetic_results.build()), tmp_path)
    found = lines(tmp_path / "manuscript" / "flow.csv")
    assert found
    parts = ("true_positive", "false_negative", "false_positive", "true_negative")
    for row in found:
        if all(row[part] for part in parts):
            assert sum(int(row[part]) for part in parts) == int(row["patients"])
            assert int(row["true_positive"]) + int(row["false_negative"]) == int(
                row["with_outcome"]
            )


def by_hand(table: list[dict[str, str]], values: dict[str, float]) -> float:
    """Apply a printed model to one patient, as a reader of the table would."""
    steps = sorted(
        {(int(r["step"]), r["does"]) for r in table if r["part"] == ""} - {(0, "source")}
    )
    result = 0.0
    for step, does in steps:
        of: dict[str, dict[str, float]] = {}
        for r in table:
            if r["part"] == "" and int(r["step"]) == step and r["value"] not in ("svm",):
                try:
                    of.setdefault(r["quantity"], {})[r["column"]] = float(r["value"])
                except ValueError:
                    assert r["quantity"] in ("name", "names")
        if does == "Impute":
            flags = {f"{n}:missing": float(np.isnan(values[n])) for n in of.get("indicators", {})}
            fill = of["fill"]
            values = {n: fill[n] if np.isnan(v) else v for n, v in values.items() if n in fill}
            values |= flags
        elif does == "Standardise":
            values = {n: (values[n] - m) / of["scale"][n] for n, m in of["mean"].items()}
        elif does == "Clip":
            limit = of["limit"][""]
            values = {n: min(max(v, -limit), limit) for n, v in values.items()}
        elif does == "Linear":
            result = of["intercept"][""] + sum(w * values[n] for n, w in of["weights"].items())
        elif does == "Sigmoid":
            result = 1.0 / (1.0 + np.exp(of["a"][""] * result + of["b"][""]))
        else:
            raise AssertionError(does)
    return float(result)


class Made:
    """A site whose clinical table is made up."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def read(self, name: str, subset: str) -> Rows:
        assert (name, subset) == ("clinical", "train")
        return self.rows


def test_a_reader_can_apply_the_clinical_model_from_its_table_alone(
    imaging_run: Path, tmp_path: Path
) -> None:
    for name in ("results.json", "bundle"):
        (tmp_path / name).symlink_to(imaging_run / name)
    write_manuscript(read(tmp_path / "results.json"), tmp_path)
    table = lines(tmp_path / "manuscript" / "model-clinical.csv")
    bundle = Bundle.from_files(read_files(imaging_run / "bundle"))
    columns = parse_study_of(bundle).clinical_columns
    values = np.random.default_rng(1).normal(1.0, 3.0, size=(20, len(columns)))
    values[::4] = np.where(np.arange(len(columns)) % 2, values[::4], np.nan)
    rows = Rows(values, columns, np.zeros(20), np.zeros(20, dtype=np.int64))
    wanted = materialise(bundle.models["clinical"], Made(rows), "train").values[:, 0]
    found = [by_hand(table, dict(zip(columns, map(float, one), strict=True))) for one in values]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    assert np.ptp(wanted) > 0.01


def parse_study_of(bundle: Bundle) -> Study:
    return Study.model_validate_json(bundle.settings)


def test_the_crate_lists_every_file_with_its_hash_and_no_path_of_the_machine(
    tmp_path: Path,
) -> None:
    run = tmp_path / "secret-place"
    (run / "tables").mkdir(parents=True)
    (run / "tables" / "delong.csv").write_text("run\n", encoding="utf-8")
    write_manuscript(parse(synthetic_results.build()), run)
    text = (run / "ro-crate-metadata.json").read_text(encoding="utf-8")
    assert "secret-place" not in text
    graph = {one["@id"]: one for one in json.loads(text)["@graph"]}
    listed = {part["@id"] for part in graph["./"]["hasPart"]}
    there = {p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()}
    assert listed == there - {"ro-crate-metadata.json"}
    for name in listed:
        assert graph[name]["sha256"] == hashlib.sha256((run / name).read_bytes()).hexdigest()
    action = graph["#run"]
    assert action["instrument"]["@id"] in graph and graph["./"]["mentions"]["@id"] == "#run"


def test_a_reader_of_crates_finds_every_file_and_what_is_said_of_it(tmp_path: Path) -> None:
    results = parse(synthetic_results.build())
    (tmp_path / "study.toml").write_text('name = "x"\n', encoding="utf-8")
    write_manuscript(results, tmp_path)
    found = ROCrate(tmp_path)
    listed = {entity.id: entity for entity in found.data_entities}
    assert "manuscript/tripod_ai.csv" in listed
    assert all((tmp_path / name).is_file() for name in listed)
    run = found.get("#run")
    assert run["agent"] is found.get("#consortium") is found.root_dataset["author"]
    assert run["object"] is listed["study.toml"]
    assert {one.id for one in run["result"]} == listed.keys() - {"study.toml"}
    assert found.root_dataset["license"]["description"] == "not stated by the authors"


def test_every_key_of_the_crate_is_a_term_of_its_context(tmp_path: Path) -> None:
    write_manuscript(parse(synthetic_results.build()), tmp_path)
    tree = json.loads((tmp_path / "ro-crate-metadata.json").read_text(encoding="utf-8"))
    terms = json.loads((files("rocrate") / "data" / "ro-crate.jsonld").read_text("utf-8"))
    address, own = tree["@context"]
    assert address == "https://w3id.org/ro/crate/1.1/context"
    known = {"@id", "@type", *terms["@context"], *own}
    assert {key for node in tree["@graph"] for key in node} <= known
