"""A run goes on over the cohort it began with, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from client.store.fingerprint import FrozenCohort
from flwr.app import Context, Message, RecordDict

from client.app import app
from client.data.cohort import read_cohort
from client.imaging.cache import ContentCache
from client.imaging.preparation import Preparation
from client.imaging.prepared import PreparedImages
from client.workspace import open_workspace
from common.errors import InputError
from common.messages.codec import decode, encode
from common.messages.exchanges import (
    EnrolReply,
    EnrolRequest,
    Problem,
    Refused,
    SumItem,
    SumRequest,
)
from common.statistics.moments import Means
from common.study.model import Study, load_study, parse_study
from common.transforms.views import table
from sim.engines.inprocess import task_identity
from sim.identities import with_identities


@pytest.fixture(autouse=True)
def node_identity() -> Iterator[None]:
    with task_identity(7):
        yield


@pytest.fixture
def study(tabular: Path) -> Study:
    return with_identities(load_study(tabular / "study.toml"))


def ask(site: Path, kind: str, request: Any) -> Any:
    """As a new process of the site would answer."""
    open_workspace.cache_clear()
    config: dict[str, Any] = {"site-config": str(site)}
    context = Context(run_id=1, node_id=7, node_config=config, state=RecordDict(), run_config={})
    return decode(app(Message(encode(request), 7, kind), context).content)


def enrol(site: Path, study: Study, run: str = "r") -> Any:
    text = study.model_dump_json()
    return ask(site, "query.enrol", EnrolRequest(run=run, study=study.digest(), study_json=text))


def edit(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([lines[0], *change(lines[1:])]) + "\n", encoding="utf-8")


def flip_a_label(rows: list[str]) -> list[str]:
    patient, label, *rest = rows[0].split(",")
    return [",".join([patient, str(1 - int(label)), *rest]), *rows[1:]]


def change_an_age(rows: list[str]) -> list[str]:
    cells = rows[0].split(",")
    return [",".join([*cells[:4], "99", *cells[5:]]), *rows[1:]]


def move_to_training(rows: list[str]) -> list[str]:
    return [*rows[:-1], rows[-1].replace("internal_test", "train")]


@pytest.mark.parametrize("change", [flip_a_label, change_an_age, move_to_training])
def test_a_run_does_not_go_on_with_other_values(
    site: Path, study: Study, tabular: Path, change: Callable[[list[str]], list[str]]
) -> None:
    assert isinstance(enrol(site, study), EnrolReply)
    edit(tabular / "a" / "cohort.csv", change)
    reply = enrol(site, study)
    assert isinstance(reply, Problem)
    log = (site.parent / "work" / "errors.log").read_text(encoding="utf-8")
    assert "the cohort changed since run r began -> begin a new run" in log


def test_nor_does_it_answer_between_two_enrolments(site: Path, study: Study, tabular: Path) -> None:
    enrol(site, study)
    edit(tabular / "a" / "cohort.csv", change_an_age)
    item = SumItem(Means(), table("clinical"), "train")
    request = SumRequest(
        run="r", study=study.digest(), session="s", number=1, items=(item,), keys=()
    )
    assert isinstance(ask(site, "query.sum", request), Problem)


def test_another_run_may_have_other_values(site: Path, study: Study, tabular: Path) -> None:
    enrol(site, study)
    edit(tabular / "a" / "cohort.csv", change_an_age)
    assert isinstance(enrol(site, study, "another"), EnrolReply)


def test_the_order_of_the_rows_and_unread_columns_do_not_matter(
    site: Path, study: Study, tabular: Path
) -> None:
    enrol(site, study)
    path = tabular / "a" / "cohort.csv"
    edit(path, lambda rows: rows[::-1])
    text = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([text[0] + ",remark", *(row + ",x" for row in text[1:])]) + "\n")
    assert isinstance(enrol(site, study), EnrolReply)


def test_a_run_that_a_site_refused_has_not_begun(site: Path, tabular: Path) -> None:
    strict = parse_study(
        (tabular / "study.toml").read_text(encoding="utf-8") + "[privacy]\nmin_rows = 61\n"
    )
    strict = with_identities(strict)
    assert isinstance(enrol(site, strict), Refused)
    edit(tabular / "a" / "cohort.csv", lambda rows: [*rows, "new,1,train,0.5,60,male,1"])
    assert isinstance(enrol(site, strict), EnrolReply)


IMAGES = """
name = "s"
endpoint = "event"
base_models = ["dl3d"]
fusion_models = []
sites = [{ name = "a" }]
test_sets = []
"""


def test_another_contour_under_the_same_name_is_another_cohort(tmp_path: Path) -> None:
    study = parse_study(IMAGES)
    for name in ("image.nii", "mask.nii"):
        (tmp_path / name).write_bytes(name.encode())
    rows = "patient_id,label,split,image,mask\np,1,train,image.nii,mask.nii\n"
    (tmp_path / "cohort.csv").write_text(rows, encoding="utf-8")
    cache = ContentCache(tmp_path / "cache")
    images = PreparedImages(Preparation(cache, None, None, {}, {}, ()))

    def frozen() -> FrozenCohort:
        return FrozenCohort(tmp_path / "r", study, read_cohort(tmp_path, "a", study), images)

    frozen().remember()
    frozen().check()
    (tmp_path / "mask.nii").write_bytes(b"drawn again")
    with pytest.raises(InputError, match="the cohort changed since run r began"):
        frozen().check()
