"""The audit holds what every site signed with its replies against the ledger that it hands in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from client.app import app
from client.site import load_site
from client.workspace import open_workspace
from common.errors import StudyError
from common.messages.exchanges import SumItem
from common.statistics.moments import Means
from common.study.model import load_study
from common.transforms import Select
from common.transforms.views import table
from server.commands.audit import audit_run
from server.federation.federation import Federation
from server.federation.receipts import FILE
from sim.engines.inprocess import SERVER_NODE, InProcessGrid, task_identity
from sim.sites import place_sites, with_identities

ITEM = SumItem(Means(), table("clinical").then(Select(columns=("marker",))), "train")


@dataclass(frozen=True)
class Run:
    """A run with one sum, by sites whose ledgers lie in its folder."""

    folder: Path
    federation: Federation
    sites: dict[str, Path]

    def findings(self, *, named: bool = True) -> list[str]:
        study = self.federation.study if named else None
        return list(audit_run(self.folder, study).findings)

    def work(self, site: str) -> Path:
        return load_site(self.sites[site]).work

    def change_receipt(self, number: int, **fields: object) -> None:
        path = self.folder / FILE
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        lines[number]["receipt"] |= fields
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


@pytest.fixture
def run(tabular: Path) -> Iterator[Run]:
    study = with_identities(load_study(tabular / "study.toml"))
    data = {name: tabular / name for name in study.site_names}
    folder = tabular / "run"
    sites = place_sites(data, folder, tabular / "cache", exclude_bad_patients=False)
    grid = InProcessGrid(app, sites)
    with task_identity(SERVER_NODE):
        federation = Federation(grid, study, "r", replies=folder / FILE)
        federation.enrol()
        for site in sites:
            shutil.copytree(load_site(sites[site]).work, tabular / f"older-{site}")
        federation.sum_many([ITEM])
        yield Run(folder, federation, sites)
    open_workspace.cache_clear()


@pytest.mark.parametrize("named", [True, False], ids=["keys of the study", "own keys"])
def test_every_reply_of_an_honest_run_is_signed_and_fits_the_ledgers(run: Run, named: bool) -> None:
    assert len((run.folder / FILE).read_text(encoding="utf-8").splitlines()) == 12
    assert run.findings(named=named) == []


def test_a_ledger_that_is_older_than_what_its_site_signed_is_named(run: Run, tabular: Path) -> None:
    for name in ("ledger.jsonl", "ledger.head.json"):
        shutil.copy(tabular / "older-b" / name, run.work("b") / name)
    told = [one for one in run.findings() if "signed that its ledger had 4 entries" in one]
    assert len(told) == 1
    assert told[0].startswith("site b, query.sum of run r at ")
    assert "put back to an older copy" in told[0]


@pytest.mark.parametrize("fields", [{"reply": "0" * 64}, {"entries": 1}, {"site": "c"}])
def test_a_receipt_that_the_coordinator_made_or_changed_accuses_nobody(
    run: Run, fields: dict[str, object]
) -> None:
    run.change_receipt(3, **fields)
    (finding,) = run.findings()
    assert "the receipt is not signed by the site" in finding


def test_a_signed_reply_that_is_not_in_the_ledger_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site that sends other numbers than those in its record is named by its signature."""
    import client.gate.site_gate as gate

    monkeypatch.setattr(
        "client.gate.site_gate.SiteGate.release", lambda self, asked, content: content
    )
    original = gate.SiteGate.receipted

    def lying(self: gate.SiteGate, asked: object, content: object) -> object:
        from dataclasses import replace

        from common.messages.codec import decode, encode
        from common.messages.exchanges import SumReply

        reply = decode(content)  # type: ignore[arg-type]
        if self.settings.name == "c" and isinstance(reply, SumReply):
            content = encode(replace(reply, ring64=reply.ring64 + 1))
        return original(self, asked, content)  # type: ignore[arg-type]

    monkeypatch.setattr(gate.SiteGate, "receipted", lying)
    with suppress(StudyError):  # a total that cannot be true may stop the run
        run.federation.sum_many([ITEM])
    (finding,) = run.findings()
    assert finding.startswith("site c, query.sum of run r")
    assert "signed a reply that its ledger does not have" in finding
