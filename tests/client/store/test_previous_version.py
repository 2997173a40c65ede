"""The last release's memory is read in once, whole, and never again.

`tests/fixtures/previous_version.tar.gz` is the work folder of site a of the tabular study, written
by the code of that release: two runs, sums, two gradients, one refusal, two private trainings.
"""

from __future__ import annotations

import multiprocessing
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from client.gate.approvals import read_approvals
from client.store.cohorts import Memberships, fix_levels
from client.store.ledger import Ledger, ledger_path
from client.store.masks import Rosters
from client.store.migration import BEFORE
from client.store.privacy_budget import Spending
from client.store.site_db import FILE, REFUSED, Draft, SiteDb, site_db
from common.errors import SignatureError, StudyError
from common.ledger.chain import seal
from common.ledger.entry import Record, request_digest
from common.ledger.verify import read_entries, verify
from common.masking import identity
from sim.sites import simulated_identity

FIXTURE = Path(__file__).resolve().parents[2] / "fixtures" / "previous_version.tar.gz"
KEY = simulated_identity("a")
STUDY = "217d4ae408ace2164e8a75458e60b6548dd7c5dc96d076c0af7b33d58e7c3260"
ROSTER = "c5e107c988dee0d28266267061aa0eb43ac5c1f372ec3ff1042a54cb7f70a42a"
RECORD = Record(exchange="query.sum", decision="stopped", reason="value")
TRAINED = tuple(f"a{i}" for i in range(60))
TESTED = tuple(f"a{i}" for i in range(60, 75))


@pytest.fixture
def work(tmp_path: Path) -> Path:
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(tmp_path, filter="data")
    for path in (tmp_path / "work").rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return tmp_path / "work"


# -- one test a format -----------------------------------------------------------------------------


def test_studies(work: Path) -> None:
    written = (work / "studies" / f"{STUDY}.json").read_text(encoding="utf-8")
    assert site_db(work).fact("study", STUDY) == written


def test_rosters(work: Path) -> None:
    keys = {name: identity.public_text(simulated_identity(name).public_key()) for name in "abc"}
    assert Rosters(work).recall(ROSTER) == keys
    assert Rosters(work).keep(keys) == ROSTER


def test_memberships_and_their_key(work: Path) -> None:
    memberships = Memberships(work)
    known = {memberships.of(one).members for one in (TRAINED, TESTED)}
    assert set(memberships.earlier()) == known


def test_levels_that_were_fixed(work: Path) -> None:
    patients, levels = ("p1", "p2", "p3"), np.array([[0.0], [1.0], [np.nan]])
    assert fix_levels(Draft(work), "a" * 64, patients, levels)
    assert not fix_levels(Draft(work), "a" * 64, patients, np.zeros((3, 1)))


def test_gradients(work: Path) -> None:
    kind = f"gradient/{request_digest('clinical', 'train')}"
    lines = next(work.glob("gradients/*/*.txt")).read_text().splitlines()
    assert site_db(work).questions(STUDY, kind) == {line.split()[1] for line in lines}
    assert len(lines) == 2


def test_masks_used(work: Path) -> None:
    lines = (work / "runs" / "r1" / "masks-used.txt").read_text().splitlines()
    assert len(lines) == 3
    draft = Draft(work)
    for use, content in map(str.split, lines):
        assert draft.fix("mask", use, content)
        assert not draft.fix("mask", use, "0" * 64)


def test_cohorts_of_runs(work: Path) -> None:
    written = (work / "runs" / "r1" / f"cohort-{STUDY[:16]}.sha256").read_text()
    assert site_db(work).fact("cohort", f"r1/{STUDY[:16]}") == written


def test_the_privacy_budget(work: Path) -> None:
    spent = (Spending("dl3d", "final", 1.1, 0.2, 5), Spending("dl3d", "fold0", 0.8, 0.25, 3))
    assert site_db(work).spendings("r1") == spent
    assert site_db(work).spendings("r2") == ()


def test_the_reply_that_is_kept(work: Path) -> None:
    (path,) = work.glob("runs/r1/owed-*.safetensors")
    asked, content = path.stem.removeprefix("owed-"), path.read_bytes()
    assert site_db(work).fact("reply", f"r1/{asked}") == "kept"
    assert (work / "runs" / "r1" / f"reply-{asked}.safetensors").read_bytes() == content


def test_approvals_of_studies_stay_and_those_of_apps_go(work: Path) -> None:
    found = read_approvals(work, KEY.public_key())
    assert [(one.digest, one.name) for one in found] == [(STUDY, "tabular")]


def test_the_ledger_goes_on_and_what_it_tells_is_known(work: Path) -> None:
    before = ledger_path(work).read_bytes()
    entry = Ledger(work, KEY).append(RECORD)
    assert entry.number == 9
    assert ledger_path(work).read_bytes() == before + entry.line()
    assert verify(ledger_path(work), KEY.public_key()) == []
    db = site_db(work)
    train = db.memberships()
    assert [one.participants for one in db.companions(train[0])] == [("a", "b", "c")]
    assert len(db.questions(STUDY, "query.sum")) == 4
    assert len(db.questions(STUDY, REFUSED)) == 1


# -- torn by a crash -------------------------------------------------------------------------------

TORN = {
    "masks": ("runs/r1/masks-used.txt", b"0123456789abcdef" * 3),
    "gradients": (f"gradients/{STUDY}/gradient-rounds.txt", b"0123456789abcdef" * 5),
    "levels": ("fixed-levels.txt", b"01234"),
    "budget": ("runs/r1/privacy-budget.jsonl", b'{"network": "dl3d", "vari'),
}


@pytest.mark.parametrize("name", TORN)
def test_a_line_that_a_crash_tore_counts_for_nothing(work: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(work, tmp_path / "whole")
    file, torn = TORN[name]
    with (work / file).open("ab") as opened:
        opened.write(torn)
    assert content_of(SiteDb(work)) == content_of(SiteDb(tmp_path / "whole"))


def test_a_torn_line_of_the_ledger_is_cut_off_and_kept_apart(work: Path) -> None:
    whole = ledger_path(work).read_bytes()
    ledger_path(work).write_bytes(whole + b'{"decision":"rel')
    assert Ledger(work, KEY).append(RECORD).number == 9
    assert verify(ledger_path(work), KEY.public_key()) == []
    assert (work / BEFORE / "ledger.torn").read_bytes() == b'{"decision":"rel\n'


def test_a_line_that_the_head_does_not_count_yet_is_counted(work: Path) -> None:
    last = read_entries(ledger_path(work))[-1]
    entry = seal(RECORD, number=9, time="t", previous=last.hash, private=KEY)
    with ledger_path(work).open("ab") as file:
        file.write(entry.line())
    assert Ledger(work, KEY).append(RECORD).number == 10
    assert verify(ledger_path(work), KEY.public_key()) == []


# -- damaged or lost -------------------------------------------------------------------------------


def gone(path: Path) -> None:
    path.unlink()


def shortened(path: Path) -> None:
    path.write_bytes(b"\n".join(path.read_bytes().split(b"\n")[1:]))


def nonsense(path: Path) -> None:
    path.write_bytes(b"what is this?\n")


def edited(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"rows":60', b'"rows":61', 1))


DAMAGES: list[tuple[str, Callable[[Path], None]]] = [
    ("memberships/*.txt", gone),
    ("memberships/*.txt", shortened),
    ("membership.key", nonsense),
    ("rosters/*.json", nonsense),
    ("runs/r1/privacy-budget.jsonl", nonsense),
    ("approvals.json", nonsense),
    ("ledger.jsonl", nonsense),
    ("ledger.jsonl", shortened),
    ("ledger.jsonl", edited),
    ("ledger.jsonl", gone),
    ("ledger.head.json", gone),
    ("ledger.head.json", nonsense),
]


@pytest.mark.parametrize(("file", "damage"), DAMAGES)
def test_what_is_damaged_or_lost_stops_the_site_and_nothing_is_taken_over(
    work: Path, file: str, damage: Callable[[Path], None]
) -> None:
    damage(next(work.glob(file)))
    kept = sorted(work.rglob("*"))
    for _ in range(2):
        with pytest.raises(StudyError) as refused:
            SiteDb(work).fact("study", STUDY)
        assert refused.value.where
    assert sorted(work.rglob("*")) == kept, "all files lie where they lay"


def test_an_approval_that_somebody_wrote_does_not_hold_afterwards_either(work: Path) -> None:
    path = work / "approvals.json"
    path.write_text(path.read_text().replace("tabular", "another"))
    with pytest.raises(SignatureError, match="identity key"):
        read_approvals(work, KEY.public_key())


# -- once ------------------------------------------------------------------------------------------


def content_of(db: SiteDb) -> list[str]:
    return sorted(db._connect().iterdump())


def files_in(folder: Path) -> set[str]:
    """Paths within a folder of all that is neither a lock nor put away."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in found if path.suffix != ".lock" and path.parts[0] != BEFORE}


def test_the_old_files_are_put_away_and_not_read_again(work: Path) -> None:
    old = {name for name in files_in(work) if "owed-" not in name}
    Ledger(work, KEY).append(RECORD)
    stay = {"gate.log", "ledger.jsonl", "ledger.head.json"}
    left = {name for name in files_in(work) if "reply-" not in name}
    assert left == stay | {FILE}
    assert files_in(work / BEFORE) == old - stay
    (work / BEFORE / "approvals.json").write_text("[]")
    assert len(read_approvals(work, KEY.public_key())) == 1


def test_old_files_do_not_come_back_when_the_memory_is_lost(work: Path) -> None:
    Ledger(work, KEY).append(RECORD)
    for path in work.glob(f"{FILE}*"):
        path.unlink()
    with pytest.raises(StudyError, match="memory is missing"):
        SiteDb(work).fact("study", STUDY)
    # somebody puts them back: what came since is not in them
    shutil.copytree(work / BEFORE, work, dirs_exist_ok=True)
    with pytest.raises(StudyError, match="memory is missing"):
        SiteDb(work).fact("study", STUDY)


DIES = """
import os, signal, sys
from pathlib import Path
from client.store import migration
from client.store.site_db import SiteDb
step, work = sys.argv[1], Path(sys.argv[2])
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if step == "while reading":
    migration._pairs = die
elif step == "before the file is in its place":
    os.link = die
elif step == "before anything is put away":
    migration.put_away = die
elif step == "while it is put away":
    rename = Path.rename
    def once(self, target):
        rename(self, target)
        die()
    Path.rename = once
SiteDb(work).fact("study", "x")
"""


@pytest.mark.parametrize(
    "step",
    [
        "while reading",
        "before the file is in its place",
        "before anything is put away",
        "while it is put away",
    ],
)
def test_a_crash_on_the_way_loses_and_doubles_nothing(
    work: Path, tmp_path: Path, step: str
) -> None:
    shutil.copytree(work, tmp_path / "undisturbed")
    command = [sys.executable, "-c", DIES, step, str(work)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert content_of(SiteDb(work)) == content_of(SiteDb(tmp_path / "undisturbed"))
    assert not (work / "ledger.lock").exists()
    assert not (work / "approvals.json").exists()


def open_it(work: Path) -> None:
    assert len(SiteDb(work).spendings("r1")) == 2


def test_two_processes_read_it_in_once(work: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=open_it, args=(work,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 3
    assert len(SiteDb(work).spendings("r1")) == 2


def test_a_site_that_only_approved_is_taken_over_too(work: Path) -> None:
    for path in work.iterdir():
        if path.name not in ("approvals.json", "studies"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert len(read_approvals(work, KEY.public_key())) == 1
    assert Ledger(work, KEY).append(RECORD).number == 1
