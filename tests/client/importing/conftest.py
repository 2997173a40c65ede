"""A hospital with an archive, its own table, and a study that reads both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from client.cli import app
from tests import builders
from tests.fixtures.archive import Scan, body, ellipses, person

MAPPING = """\
id = "record"
match = "PatientID"
roi = ["GTV"]
columns = { label = "pn", age = "alter", sex = "geschlecht" }
constants = { split = "train" }

[codes]
label = { ja = "1", nein = "0" }
sex = { 1 = "male", 2 = "female" }
"""
CONTOUR = ellipses((26, 22), 6, range(8, 13))


class Hospital:
    """Folders of one hospital: `export`, `site`, and its files."""

    def __init__(self, root: Path) -> None:
        self.export, self.site = root / "export", root / "site"
        self.site.mkdir(parents=True)
        self.table = root / "table.csv"
        self.study = builders.study_file(
            root / "study.toml",
            base_models=["clinical", "radiomics"],
            clinical=[
                builders.number("age", unit="years"),
                builders.levels("sex", "male", "female"),
            ],
            radiomics={"settings": "radiomics-original", "expected_features": 105},
        )
        self.map(MAPPING)

    def map(self, text: str) -> None:
        (self.site / "import.toml").write_text(text, encoding="utf-8")

    def rows(self, *rows: Sequence[object]) -> None:
        lines = ["record,pn,alter,geschlecht,bemerkung"]
        lines += [",".join(map(str, (*row, "calls often"))) for row in rows]
        self.table.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def scan(self, number: int, **settings: object) -> Scan:
        """Write a patient's CT series."""
        made = Scan(person(number), body(number), **settings)
        made.write(self.series(number, made))
        return made

    def series(self, number: int, scan: Scan) -> Path:
        """Return the folder with the slices of a patient's series and nothing else."""
        return self.export / f"disc{number % 3}" / "DICOM" / scan.series[-6:]

    def patient(self, number: int) -> Scan:
        """Write a patient with contours, and return the scan."""
        made = self.scan(number)
        made.rtstruct(self.export / "rt" / f"RS{number}", {"GTV": CONTOUR, "cord": CONTOUR})
        return made

    def run(self, *more: object, said: str | None = None) -> Result:
        """Import; without answers it does not ask."""
        words = ["import", self.site, "--from", self.export, "--table", self.table]
        words += ["--study", self.study, *(["--yes"] if said is None else []), *more]
        return CliRunner().invoke(app, list(map(str, words)), input=said)

    def cohort(self) -> list[dict[str, str]]:
        lines = (self.site / "cohort.csv").read_text(encoding="utf-8").splitlines()
        heading, *rows = [line.split(",") for line in lines]
        return [dict(zip(heading, row, strict=True)) for row in rows]

    def statuses(self) -> dict[str, str]:
        """Return the status of each pseudonym."""
        lines = (self.site / "import.csv").read_text(encoding="utf-8").splitlines()
        return {line.split(",")[0]: line.split(",")[1] for line in lines[1:]}

    def everything(self) -> bytes:
        """Return the bytes of all files of the site, and all names."""
        paths = sorted(self.site.rglob("*"))
        names = "\n".join(str(path.relative_to(self.site)) for path in paths).encode()
        return names + b"".join(path.read_bytes() for path in paths if path.is_file())


@pytest.fixture
def hospital(tmp_path: Path) -> Hospital:
    return Hospital(tmp_path)


@pytest.fixture
def make_hospital(tmp_path: Path) -> Callable[[str], Hospital]:
    return lambda name: Hospital(tmp_path / name)
