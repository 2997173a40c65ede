"""A PACS that is set up otherwise than it should be, or breaks off: each is named, and passed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import CTImageStorage, RTStructureSetStorage, SegmentationStorage
from pynetdicom import AE, evt

from client.importing.archive import ArchiveError, FoundSeries, SeriesError, retrieve
from client.importing.pacs import STORAGE, Find, Get, Move, Pacs, Peer
from common.utils.processes import free_port
from tests.fixtures.archive import Scan, body, person

SCAN = Scan(person(1), body(1)[:4])
SERIES = FoundSeries(SCAN.study, SCAN.series, "CT", 4)
Handler = Callable[[Any], Iterator[Any]]


def find(event: Any) -> Iterator[Any]:
    """Answer with the one study, or its one series."""
    found = Dataset()
    found.QueryRetrieveLevel = event.identifier.QueryRetrieveLevel
    found.StudyInstanceUID, found.PatientID = SCAN.study, SCAN.who.patient
    found.AccessionNumber, found.SeriesInstanceUID = SCAN.who.accession, SCAN.series
    found.Modality, found.NumberOfSeriesRelatedInstances = "CT", 4
    yield 0xFF00, found


def send(event: Any) -> Iterator[Any]:
    """Send the series."""
    yield 4
    for k in range(4):
        yield 0xFF00, SCAN.slice(k)


@contextmanager
def archive(
    get: Handler = send,
    services: tuple[Any, ...] = (Find, Get),
    kinds: tuple[Any, ...] = STORAGE,
    move: Handler = send,
    **of_peer: Any,
) -> Iterator[Pacs]:
    """Run an archive, and ask it."""
    entity, port = AE(ae_title="ARCHIVE"), free_port()
    for one in services:
        entity.add_supported_context(one)
    for one in kinds:
        entity.add_supported_context(one, scu_role=True, scp_role=True)
    handlers = [(evt.EVT_C_FIND, find), (evt.EVT_C_GET, get), (evt.EVT_C_MOVE, move)]
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    try:
        yield Pacs(Peer("ARCHIVE", "127.0.0.1", port, **{"patience": 20.0, **of_peer}))
    finally:
        server.shutdown()


def test_an_archive_without_c_get_is_named_with_what_to_ask_for(tmp_path: Path) -> None:
    with archive(services=(Find, Move)) as pacs:
        assert pacs.series(SCAN.study) == [SERIES]
        with pytest.raises(ArchiveError, match=r"does not offer Study Root.*GET") as error:
            pacs.retrieve(SERIES, tmp_path)
        # the fault is the same for every series, so that the first one ends it
        assert not isinstance(error.value, SeriesError)
        with pytest.raises(ArchiveError, match="does not offer"):
            retrieve(pacs, "accession", [SCAN.who.accession], tmp_path)
    assert "docs/pacs.md" in error.value.remedy


def test_an_archive_that_does_not_let_this_machine_search_is_named() -> None:
    with (
        archive(services=(Get,)) as pacs,
        pytest.raises(ArchiveError, match=r"does not offer Study Root.*FIND"),
    ):
        pacs.studies("accession", SCAN.who.accession)


def test_an_archive_that_does_not_send_a_kind_is_named_with_the_kind(tmp_path: Path) -> None:
    with archive(kinds=(CTImageStorage,)) as pacs, pytest.raises(ArchiveError) as error:
        pacs.retrieve(SERIES, tmp_path)
    assert error.value.what == f"it does not send {RTStructureSetStorage.name} by C-GET"
    assert "--listen PORT" in error.value.remedy
    with archive(kinds=(CTImageStorage, RTStructureSetStorage)) as pacs:
        pacs.retrieve(SERIES, tmp_path)  # few archives have segmentations
    assert len(list(tmp_path.iterdir())) == 4
    assert SegmentationStorage in STORAGE


def test_an_archive_that_falls_silent_is_left_after_the_patience(tmp_path: Path) -> None:
    def silent(event: Any) -> Iterator[Any]:
        time.sleep(3)
        yield 0

    with (
        archive(silent, patience=1.0) as pacs,
        pytest.raises(SeriesError, match=r"said nothing for 1 s \(C-GET\)"),
    ):
        pacs.retrieve(SERIES, tmp_path)


def test_an_archive_that_breaks_off_once_gives_the_whole_series_at_the_second_try(
    tmp_path: Path,
) -> None:
    tries: list[int] = []

    def breaks_off(event: Any) -> Iterator[Any]:
        tries.append(1)
        yield 4
        for k in range(4):
            if k == 2 and len(tries) == 1:
                event.assoc.abort()
                return
            yield 0xFF00, SCAN.slice(k)

    with archive(breaks_off) as pacs:
        done = retrieve(pacs, "accession", [SCAN.who.accession], tmp_path)
    assert len(tries) == 2
    assert (done.files, done.incomplete) == (4, {})
    assert done.bare == {SCAN.who.accession: "no contour (RTSTRUCT or SEG) in the archive"}


def test_files_that_the_archive_cannot_send_are_counted(tmp_path: Path) -> None:
    def some(event: Any) -> Iterator[Any]:
        yield 4
        for k in range(3):
            yield 0xFF00, SCAN.slice(k)
        other = SCAN.slice(3)
        other.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"  # MR, for which there is no context
        yield 0xFF00, other

    with archive(some) as pacs:
        done = retrieve(pacs, "accession", [SCAN.who.accession], tmp_path)
    assert done.files == 3
    assert done.incomplete == {SCAN.series: "1 files were not sent (C-GET)"}


def test_an_archive_that_does_not_know_where_this_machine_is_is_named(tmp_path: Path) -> None:
    def nowhere(event: Any) -> Iterator[Any]:
        yield None, None

    with (
        archive(services=(Find, Move), move=nowhere, listen=free_port()) as pacs,
        pytest.raises(ArchiveError, match='does not know where "FEDLNM" is') as error,
    ):
        pacs.retrieve(SERIES, tmp_path)
    assert "address and port" in error.value.remedy


def test_an_object_of_another_series_is_not_taken(tmp_path: Path) -> None:
    def other(event: Any) -> Iterator[Any]:
        yield 1
        stranger = Scan(person(2), body(2)[:1]).slice(0)
        yield 0xFF00, stranger

    with archive(other) as pacs, pytest.raises(SeriesError, match="1 files were not sent"):
        pacs.retrieve(SERIES, tmp_path)
    assert not list(tmp_path.iterdir())
