"""The ClientApp: only the catalogue's requests, and no error text leaves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict

from client.app import app
from client.site import load_site
from client.store.site_db import recall_study
from client.workspace import open_workspace
from common.errors import StudyError
from common.ledger.entry import read_line
from common.messages.codec import decode, encode
from common.messages.exchanges import (
    EnrolReply,
    EnrolRequest,
    Problem,
    Refused,
    RowsRequest,
    SumItem,
    SumRequest,
)
from common.statistics.counts import LevelCounts
from common.study.model import load_study
from common.transforms import Select
from common.transforms.views import table
from sim.engines.inprocess import task_identity
from sim.sites import with_identities


@pytest.fixture(autouse=True)
def node_identity() -> Iterator[None]:
    with task_identity(7):
        yield


def ask(site: Path, kind: str, request: Any) -> tuple[Any, bytes]:
    context = Context(
        run_id=1,
        node_id=7,
        node_config={"site-config": str(site)},
        state=RecordDict(),
        run_config={},
    )
    reply = app(Message(encode(request), 7, kind), context)
    raw = str(reply.content.config_records["header"]["json"]).encode()
    return decode(reply.content), raw


def sum_request(study: str, *items: SumItem) -> SumRequest:
    return SumRequest(run="r", study=study, session="s", number=1, items=items, keys=())


def enrol(site: Path, tabular: Path, run: str = "r") -> tuple[Any, bytes]:
    study = with_identities(load_study(tabular / "study.toml"))
    request = EnrolRequest(run=run, study=study.digest(), study_json=study.model_dump_json())
    return ask(site, "query.enrol", request)


def test_a_good_site_enrols_with_its_counts(site: Path, tabular: Path) -> None:
    reply, _ = enrol(site, tabular)
    assert isinstance(reply, EnrolReply)
    assert reply.counts == {"train": (60, 24), "internal": (15, 6)}
    assert reply.columns["clinical"] == ("marker", "age", "sex=male", "stage")


def test_an_error_with_a_patients_id_and_a_path_stays_at_the_site(
    site: Path, tabular: Path
) -> None:
    path = tabular / "a" / "cohort.csv"
    path.write_text(path.read_text().replace("a7,0", "Muster-Max-1962,7", 1))
    reply, raw = enrol(site, tabular)
    assert isinstance(reply, Problem)
    assert reply.kind == "data"
    assert b"Muster" not in raw
    assert str(tabular).encode() not in raw
    log = (site.parent / "work" / "errors.log").read_text(encoding="utf-8")
    assert reply.log_id in log
    assert "Muster-Max-1962" in log


def test_what_a_site_writes_is_for_one_user_alone(site: Path, tabular: Path) -> None:
    """A log of errors names patients; the process here is a server's as well."""
    work = site.parent / "work"
    work.mkdir(exist_ok=True)
    work.chmod(0o755)  # as somebody made it by hand
    before = os.umask(0o022)
    try:
        assert isinstance(enrol(site, tabular)[0], EnrolReply)
        assert isinstance(ask(site, "query.sum", sum_request("0" * 64))[0], Problem)
        rows = RowsRequest("r", "0" * 64, {}, np.zeros((0, 0)), {}, ())
        assert isinstance(ask(site, "query.sum", rows)[0], Problem)
        path = tabular / "a" / "cohort.csv"
        path.write_text(path.read_text().replace("a7,0", "Muster-Max-1962,7", 1))
        open_workspace.cache_clear()
        assert isinstance(enrol(site, tabular)[0], Problem)
    finally:
        os.umask(before)
    kept = [work, *work.rglob("*")]
    assert {"errors.log", "gate.log", "ledger.jsonl", "site.db"} <= {path.name for path in kept}
    assert not [path for path in kept if path.stat().st_mode & 0o077]


def test_an_unexpected_error_leaves_as_its_kind_only(site: Path, tabular: Path) -> None:
    enrol(site, tabular)
    study = with_identities(load_study(tabular / "study.toml"))
    # codes are asked of a column of ages: the statistic refuses, naming the column
    item = SumItem(LevelCounts(levels=2), table("coded").then(Select(columns=("age",))), "train")
    request = sum_request(study.digest(), item)
    reply, raw = ask(site, "query.sum", request)
    assert isinstance(reply, Problem)
    assert reply.kind == "software"
    assert b"age" not in raw


def test_a_request_of_another_exchange_is_not_answered(site: Path, tabular: Path) -> None:
    enrol(site, tabular)
    study = with_identities(load_study(tabular / "study.toml"))
    request = RowsRequest(
        run="r", study=study.digest(), columns={}, fitting=np.zeros((0, 0)), counts={}, keys=()
    )
    reply, _ = ask(site, "query.sum", request)
    assert isinstance(reply, Problem)


def test_a_study_with_another_digest_than_stated_is_not_accepted(site: Path, tabular: Path) -> None:
    study = with_identities(load_study(tabular / "study.toml"))
    request = EnrolRequest(run="r", study="0" * 64, study_json=study.model_dump_json())
    reply, _ = ask(site, "query.enrol", request)
    assert isinstance(reply, Problem)
    work = load_site(site).work
    for digest in (study.digest(), "0" * 64):
        with pytest.raises(StudyError, match="not enrolled"):
            recall_study(work, digest)


def test_a_study_the_site_was_not_enrolled_in_is_not_answered(site: Path) -> None:
    reply, _ = ask(site, "query.sum", sum_request("0" * 64))
    assert isinstance(reply, Problem)


def test_a_run_name_cannot_lead_out_of_the_work_folder(site: Path, tabular: Path) -> None:
    study = with_identities(load_study(tabular / "study.toml"))
    request = EnrolRequest(run="../../x", study=study.digest(), study_json=study.model_dump_json())
    reply, _ = ask(site, "query.enrol", request)
    assert isinstance(reply, Problem)


def test_every_reply_stands_in_the_ledger_before_it_leaves(site: Path, tabular: Path) -> None:
    reply, _ = enrol(site, tabular)
    lines = (site.parent / "work" / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    entries = [read_line(line) for line in lines]
    assert [(e.exchange, e.decision) for e in entries] == [("query.enrol", "released")]
    assert {item.subset: item.rows for item in entries[0].items} == {"train": 60, "internal": 15}
    assert isinstance(reply, EnrolReply)


def test_a_cohort_that_lost_one_patient_is_refused_and_the_same_again_is_not(
    site: Path, tabular: Path
) -> None:
    first, _ = enrol(site, tabular)
    open_workspace.cache_clear()
    again, _ = enrol(site, tabular)
    assert isinstance(first, EnrolReply)
    assert isinstance(again, EnrolReply)
    path = tabular / "a" / "cohort.csv"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:5] + lines[6:]), encoding="utf-8")
    open_workspace.cache_clear()
    reply, raw = enrol(site, tabular, "another")
    assert isinstance(reply, Refused)
    assert {r.rule for r in reply.refusals} == {"membership"}
    assert lines[5].split(",")[0].encode() not in raw
