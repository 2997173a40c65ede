"""A DICOMweb service that answers with what is no DICOM: one sentence each, and no traceback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from client.importing.archive import ArchiveError, FoundSeries, SeriesError
from client.importing.archive_options import ArchiveOptions, open_archive
from client.importing.dicomweb import DicomWeb
from tests.fixtures.background import in_background

SERIES = FoundSeries("1.2", "1.2.3", "CT", 1)
JSON, PARTS = "application/dicom+json", 'multipart/related; type="application/dicom"; boundary=b'


class Answer(BaseHTTPRequestHandler):
    """Answer of the service to everything."""

    kind, content = JSON, b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", self.kind)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def service(kind: str, content: bytes) -> AbstractContextManager[DicomWeb]:
    return served(type("Own", (Answer,), {"kind": kind, "content": content}))


@contextmanager
def served(answer: type[Answer]) -> Iterator[DicomWeb]:
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), answer) as server,
        in_background(lambda: server.serve_forever(0.01)),
    ):
        url = f"http://127.0.0.1:{server.server_port}/dicom-web"
        try:
            found = open_archive(ArchiveOptions(dicomweb=url, patience=5.0))
            assert isinstance(found, DicomWeb)
            yield found
        finally:
            server.shutdown()


@pytest.mark.parametrize(
    "found",
    [5, "x", [5], [[]], [{"0020000D": 5}], [{"0020000D": {"Value": 5}}], [None]],
    ids=str,
)
def test_an_answer_to_a_search_that_is_no_list_of_studies_is_one_sentence(found: object) -> None:
    with service(JSON, json.dumps(found).encode()) as archive, pytest.raises(ArchiveError):
        archive.studies("patient", "P1")


@pytest.mark.parametrize(
    "count", ["many", "-3", 2.5, "9" * 9999, None, [1]], ids=lambda c: str(c)[:9]
)
def test_a_number_of_instances_that_is_none_is_as_if_it_did_not_say(count: object) -> None:
    study = {"0020000E": {"Value": ["1.2.3"]}, "00201209": {"Value": [count]}}
    with service(JSON, json.dumps([study]).encode()) as archive:
        assert archive.series("1.2") == [FoundSeries("1.2", "1.2.3", "", 0)]


@pytest.mark.parametrize(
    "part", [b"", b"no DICOM at all", bytes(200), bytes(128) + b"DICM\x02\0\xff"]
)
def test_a_part_that_is_no_instance_breaks_the_series_off(part: bytes, tmp_path: Path) -> None:
    content = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + part + b"\r\n--b--"
    with service(PARTS, content) as archive, pytest.raises(SeriesError, match="cannot be read"):
        archive.retrieve(SERIES, tmp_path)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (requests.ConnectTimeout, "no connection within 20 s"),
        (requests.ReadTimeout, "no answer within 5 s"),
    ],
)
def test_what_was_waited_for_and_how_long_is_said_after_one_try(
    error: type[Exception], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def silent(*_: object, **__: object) -> None:
        tries.append(error)
        raise error

    monkeypatch.setattr(requests.Session, "send", silent)
    archive = open_archive(ArchiveOptions(dicomweb="https://pacs.example.org/rs", patience=5.0))
    with pytest.raises(ArchiveError, match=words):
        archive.studies("patient", "P1")
    assert len(tries) == 1


def test_an_archive_that_is_busy_is_asked_again() -> None:
    class Busy(Answer):
        content, busy = b"[]", [True]

        def do_GET(self) -> None:
            if self.busy:
                self.busy.pop()
                self.send_error(503)
            else:
                super().do_GET()

    with served(Busy) as archive:
        assert archive.studies("patient", "P1") == []
    assert not Busy.busy
