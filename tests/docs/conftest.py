"""Three hospitals in memory, asked for masked sums, for the worked examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.workspace import Workspace
from common.study.model import Study
from common.transforms import Select
from common.transforms.views import View, table
from server.federation.federation import Federation
from sim.engines.inprocess import SERVER_NODE, task_identity
from sim.equality.sites import Hospitals, federate, folder_sites, pooled_rows
from sim.sites import with_identities
from tests import builders

GRADES: dict[str, Any] = {
    "tests": {"spread": ("internal_test", "abc"), "one": ("external_test", "c")},
    "clinical": [builders.levels("grade", "1", "2", "3")],
}
GRADE: View = table("coded").then(Select(columns=("grade",)))
PATIENTS = {"train": 50, "internal_test": 20, "external_test": 30}


@dataclass(frozen=True)
class Grades:
    """A federation over the hospitals, and what they hold."""

    federation: Federation
    sites: dict[str, Workspace]
    study: Study

    def ask(self, statistic: Any, subset: str = "train") -> Any:
        """Return the statistic of the column of grades, from masked sums where there are any."""
        return self.federation.sum(statistic, GRADE, subset)

    def pooled(self, subset: str = "train") -> Any:
        """Return all patients of a subset, as one hospital would hold them."""
        return pooled_rows(self.sites, self.study, "coded", subset)


@pytest.fixture
def grades(tmp_path: Path) -> Iterator[Callable[..., Grades]]:
    """Hospitals with a grade that rises with the outcome; `b` lacks the given share of them."""

    def make(lacking: float = 0.0) -> Grades:
        study = with_identities(builders.study(**GRADES))
        for number, name in enumerate(study.site_names):
            random = np.random.default_rng(number)
            lines = ["patient_id,label,split,grade"]
            for split, count in PATIENTS.items():
                for index in range(count if name == "c" or split != "external_test" else 0):
                    label = index % 5 < 2
                    grade = random.choice(3, p=(0.2, 0.3, 0.5) if label else (0.4, 0.4, 0.2)) + 1
                    gone = name == "b" and index < lacking * count
                    cell = "" if gone else grade
                    lines.append(f"{name}{split[0]}{index},{int(label)},{split},{cell}")
            (tmp_path / name).mkdir()
            (tmp_path / name / "cohort.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        sites = folder_sites(tmp_path, study, tmp_path / "work")
        return Grades(federate(study, Hospitals(sites)), sites, study)

    with task_identity(SERVER_NODE):
        yield make
