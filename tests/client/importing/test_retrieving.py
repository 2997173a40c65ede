"""A retrieval by a list: what breaks off, what is asked for, and what an interruption leaves."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.importing import archive
from client.importing.archive import (
    ArchiveError,
    By,
    FoundSeries,
    FoundStudy,
    SeriesError,
    checked_numbers,
    empty_spool,
    instance_file,
    read_numbers,
    retrieve,
    spool,
)
from client.importing.archive_options import ArchiveOptions, numbers_of, open_archive
from client.importing.dicomweb import make_endpoint
from client.importing.pacs import parse_peer
from common.errors import InputError, StudyError, UsageError


class Made:
    """An archive of two series of three files each, which breaks off as a test wants."""

    def __init__(self, fails: int = 0, whole: bool = True, accession: str = "A1") -> None:
        self.fails, self.whole, self.accession = fails, whole, accession
        self.asked: list[str] = []

    def studies(self, by: By, number: str) -> list[FoundStudy]:
        return [FoundStudy("1.1", "P1", self.accession)]

    def series(self, study: str) -> list[FoundSeries]:
        kinds = ("CT", "RTSTRUCT", "MR", "PR")
        return [FoundSeries(study, f"{study}.{kind}", kind, 3) for kind in kinds]

    def retrieve(self, series: FoundSeries, folder: Path) -> None:
        self.asked.append(series.modality)
        first = self.asked.count(series.modality) == 1
        for number in range(3 if self.whole else 2):
            if first and number == 1 and self.fails:
                self.fails -= 1
                raise SeriesError("it broke off")
            instance_file(folder, f"{series.uid}.{number}").write_bytes(b"x")


def test_ct_and_contours_alone_are_asked_for(tmp_path: Path) -> None:
    made = Made()
    done = retrieve(made, "accession", ["A1"], tmp_path)
    assert made.asked == ["CT", "RTSTRUCT"]
    assert (done.files, done.series, done.is_whole) == (6, 2, True)


def test_a_series_that_breaks_off_is_asked_for_again_and_the_others_are_not(tmp_path: Path) -> None:
    made = Made(fails=1)
    done = retrieve(made, "accession", ["A1"], tmp_path)
    assert made.asked == ["CT", "CT", "RTSTRUCT"]
    assert (done.files, done.is_whole) == (6, True)


def test_a_series_that_never_comes_whole_is_named_with_how_much_came(tmp_path: Path) -> None:
    made = Made(whole=False)
    done = retrieve(made, "accession", ["A1"], tmp_path)
    assert made.asked.count("CT") == archive.TRIES
    assert done.incomplete == dict.fromkeys(("1.1.CT", "1.1.RTSTRUCT"), "2 of 3 files came")
    assert not done.is_whole
    assert "not whole: series 1.1.CT: 2 of 3 files came" in list(done.lines("accession"))


def test_a_study_of_two_numbers_is_retrieved_once(tmp_path: Path) -> None:
    class Both(Made):
        def studies(self, by: By, number: str) -> list[FoundStudy]:
            return [FoundStudy("1.1", number, "")]

    made = Both()
    retrieve(made, "patient", ["P1", "P2"], tmp_path)
    assert made.asked == ["CT", "RTSTRUCT"]


def test_an_archive_that_does_not_search_by_the_number_brings_nobody_elses_images(
    tmp_path: Path,
) -> None:
    with pytest.raises(ArchiveError, match="other studies than those of the accession number"):
        retrieve(Made(accession="A2"), "accession", ["A1"], tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_stops_before_it_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "LEAST_FREE", 2**62)
    with pytest.raises(StudyError, match="less than 1 GB is free"):
        retrieve(Made(), "accession", ["A1"], tmp_path)


@pytest.mark.parametrize("bad", ["*", "A?", "A\\B", "A" * 17, "A\tB"])
def test_no_pattern_is_sent_in_place_of_a_number(bad: str) -> None:
    with pytest.raises(InputError, match="entry 2 is no accession number") as error:
        checked_numbers(["A1", bad], "accession", "list.txt")
    assert bad not in f"{error.value.where}{error.value.remedy}"


@given(
    st.lists(
        st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=16),
        min_size=1,
    )
)
def test_each_number_is_asked_for_once_in_order(numbers: list[str]) -> None:
    found = checked_numbers([*numbers, *numbers], "accession", "list.txt")
    assert found == sorted(set(numbers), key=numbers.index)


def test_a_list_may_have_comments_and_empty_lines(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("# of 2020\n A1 \n\nA2\nA1\n", encoding="utf-8")
    assert read_numbers(tmp_path / "list", "accession") == ["A1", "A2"]
    (tmp_path / "list").write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(InputError, match="no patient ID in it"):
        read_numbers(tmp_path / "list", "patient")


def test_numbers_may_be_a_column_of_the_hospitals_table() -> None:
    frame = pd.DataFrame({"acc": ["A2", None, "A1"], "age": ["1", "2", "3"]})
    assert numbers_of(ArchiveOptions(accession="acc"), frame) == ["A2", "A1"]
    with pytest.raises(InputError, match=r"neither a file nor a column of the table \(acc, age\)"):
        numbers_of(ArchiveOptions(patient="pid"), frame)
    with pytest.raises(InputError, match="no --table is named"):
        numbers_of(ArchiveOptions(patient="pid"), None)
    for options in (ArchiveOptions(), ArchiveOptions(accession="acc", patient="age")):
        with pytest.raises(UsageError, match="by accession number or by patient ID"):
            numbers_of(options, frame)


# -- what an interrupted import leaves to the next -----------------------------------------------


class BreaksDown(Made):
    """An archive that goes away when it is asked for contours."""

    def retrieve(self, series: FoundSeries, folder: Path) -> None:
        super().retrieve(series, folder)
        if series.modality == "RTSTRUCT":
            raise ArchiveError("it went away")


def test_the_next_import_asks_for_contours_and_for_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError):
        retrieve(BreaksDown(), "accession", ["A1"], tmp_path)
    made = Made()
    done = retrieve(made, "accession", ["A1"], tmp_path)
    assert made.asked == ["RTSTRUCT"]
    assert (done.files, done.series, done.kept, done.is_whole) == (6, 2, 1, True)
    assert "1 series were there from an interrupted import" in next(done.lines("accession"))
    again = Made()
    retrieve(again, "accession", ["A1"], tmp_path)
    assert again.asked == ["RTSTRUCT"], "it may have been corrected meanwhile"


def test_a_series_that_was_not_whole_or_has_grown_is_asked_for_again(tmp_path: Path) -> None:
    done = retrieve(Made(whole=False), "accession", ["A1"], tmp_path)
    assert not done.is_whole
    made = Made()
    assert retrieve(made, "accession", ["A1"], tmp_path).is_whole
    assert made.asked == ["CT", "RTSTRUCT"]

    class Grown(Made):
        def series(self, study: str) -> list[FoundSeries]:
            return [replace(one, instances=4) for one in super().series(study)]

    grown = Grown()
    retrieve(grown, "accession", ["A1"], tmp_path)
    assert grown.asked == ["CT"] * archive.TRIES + ["RTSTRUCT"] * archive.TRIES


def test_what_another_list_has_left_is_removed(tmp_path: Path) -> None:
    class Another(Made):
        def studies(self, by: By, number: str) -> list[FoundStudy]:
            return [FoundStudy("2.2", "P2", "A2")]

    retrieve(Another(), "accession", ["A2"], tmp_path)
    others = {*tmp_path.iterdir()}
    retrieve(Made(), "accession", ["A1"], tmp_path)
    assert len(others) == len(list(tmp_path.iterdir())) == 2
    assert not others & {*tmp_path.iterdir()}


def test_what_is_retrieved_is_for_this_user_alone_and_stays_until_it_is_removed(
    tmp_path: Path,
) -> None:
    work = tmp_path / "work"
    with pytest.raises(RuntimeError), spool(work) as folder:
        (folder / "ct").mkdir()
        (folder / "ct" / "x").write_bytes(b"a name")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        raise RuntimeError
    with spool(work) as folder:
        assert [path.name for path in folder.rglob("*")] == ["ct", "x"]
        assert empty_spool(folder) == 1
    assert not list(work.iterdir())


WAITS = """
import signal, sys, time
from pathlib import Path
from client.importing.archive import spool
from common.utils.processes import interrupt_when_terminated
interrupt_when_terminated()
signal.signal(signal.SIGINT, signal.default_int_handler)
with spool(Path(sys.argv[1])) as folder:
    (folder / "x").mkdir()
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_one_import_retrieves_at_a_time_however_it_ends(
    tmp_path: Path, number: signal.Signals
) -> None:
    work = tmp_path / "work"
    with subprocess.Popen(
        [sys.executable, "-c", WAITS, str(work)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as program:
        assert program.stdout is not None
        program.stdout.readline()
        with pytest.raises(StudyError, match="another import"), spool(work):
            pass
        os.kill(program.pid, number)
    with spool(work) as folder:
        assert [path.name for path in folder.iterdir()] == ["x"]


# -- addresses and passwords ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "pacs:104",
        "A@host",
        "@host:104",
        "A" * 17 + "@host:104",
        "A@host:0",
        "A@host:70000",
        "A B@h:1",
    ],
)
def test_what_is_no_address_of_a_pacs_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="TITLE@HOST:PORT"):
        parse_peer(text)


def test_one_archive_is_named() -> None:
    with pytest.raises(UsageError, match="two archives"):
        open_archive(ArchiveOptions(pacs="A@h:1", dicomweb="https://h/dicom-web"))
    with pytest.raises(InputError, match="no AE title"):
        open_archive(ArchiveOptions(pacs="A@h:1", own_title="TOO LONG FOR A TITLE"))
    with pytest.raises(UsageError, match="--listen"):
        open_archive(ArchiveOptions(pacs="A@h:1", tls=True, listen=11112))
    with pytest.raises(UsageError, match="no archive is named"):
        open_archive(ArchiveOptions())


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("https://anna:s3cret@pacs.example.org/dicom-web", "in the list of processes"),
        ("http://pacs.example.org/dicom-web", "over the network for everybody"),
        ("pacs.example.org/dicom-web", "no address"),
        ("ftp://pacs.example.org", "no address"),
        ("https://[::1", "no address"),
    ],
)
def test_a_password_neither_is_in_an_address_nor_goes_unencrypted(
    tmp_path: Path, url: str, what: str
) -> None:
    words = tmp_path / "words"
    words.write_text("anna:s3cret\n", encoding="utf-8")
    words.chmod(0o600)
    with pytest.raises(InputError, match=what) as error:
        make_endpoint(url, words, None, 1.0)
    assert "s3cret" not in str(error.value)
    words.chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        make_endpoint("https://pacs.example.org/dicom-web", words, None, 1.0)


def test_a_password_is_not_in_the_words_of_an_endpoint(tmp_path: Path) -> None:
    words = tmp_path / "words"
    words.write_text("Bearer s3cret\n", encoding="utf-8")
    words.chmod(0o600)
    found = make_endpoint("https://pacs.example.org/dicom-web", words, None, 1.0)
    assert "s3cret" not in f"{found!r} {found.place}"
