"""Search and retrieve from an archive over DICOMweb: QIDO-RS, then WADO-RS."""

from __future__ import annotations

import logging
import os
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from dicomweb_client.api import DICOMwebClient
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from client.importing.archive import (
    TAG,
    ArchiveError,
    By,
    FoundSeries,
    FoundStudy,
    SeriesError,
    instance_file,
    instances_in,
)
from common.errors import InputError, StudyError
from common.utils.text_file import read_written

VARIABLE = "FEDLNM_DICOMWEB"
"""Environment variable with USER:PASSWORD, or "Bearer TOKEN"."""
_TAGS = {
    "StudyInstanceUID": "0020000D",
    "PatientID": "00100020",
    "AccessionNumber": "00080050",
    "SeriesInstanceUID": "0020000E",
    "Modality": "00080060",
    "NumberOfSeriesRelatedInstances": "00201209",
}
# as the archive keeps it, since a change of the coding would be work for nothing
_AS_KEPT = (("application/dicom", "*"),)
_LOCAL = ("127.0.0.1", "localhost", "::1")
_OPEN_TO_OTHERS = 0o077
_CONNECT_SECONDS = 20.0
_AGAIN = Retry(
    4,
    connect=0,
    read=False,
    other=0,
    status_forcelist=(408, 429, 503, 504),
    backoff_factor=1.0,
    raise_on_status=False,
    respect_retry_after_header=False,
)
"""An archive that is busy is asked again at once, and after 2, 4 and 8 s."""


@dataclass(frozen=True)
class Endpoint:
    """DICOMweb service of an archive.

    Parameters
    ----------
    url : of the service, under which /studies lies.
    words : USER:PASSWORD, or "Bearer TOKEN"; empty = none.
    authority : PEM file with the certificates that are trusted; None = those of this machine.
    patience : seconds that the archive may be silent.
    """

    url: str
    words: str = field(default="", repr=False)
    authority: Path | None = None
    patience: float = 300.0

    @property
    def place(self) -> str:
        """Return its host and path, without anything that a URL may hide."""
        parts = urlsplit(self.url)
        return f"{parts.hostname}{parts.path}"


def make_endpoint(
    url: str, credentials: Path | None, authority: Path | None, patience: float
) -> Endpoint:
    """Return the service that is meant, with user and password of a file or of `VARIABLE`.

    Raises
    ------
    InputError : the URL is none, a password is in it or would go unencrypted over a network, or
        others may read the file with it.
    """
    words = _words_of(credentials) if credentials else os.environ.get(VARIABLE, "").strip()
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:  # brackets that do not close
        is_address = False
    if not is_address:
        raise InputError("this is no address", where="--dicomweb", remedy="https://HOST/dicom-web")
    if parts.username is not None or parts.password is not None:
        raise InputError(
            "a password in an address is in the list of processes, for everybody to read",
            where="--dicomweb",
            remedy=f"write USER:PASSWORD into a file for --credentials, or into {VARIABLE}",
        )
    if words and parts.scheme == "http" and parts.hostname not in _LOCAL:
        raise InputError(
            "the password would go over the network for everybody to read",
            where="--dicomweb",
            remedy="use https, or no password",
        )
    return Endpoint(url, words, authority, patience)


def _words_of(path: Path) -> str:
    """Return the only line of a file that this user alone may read."""
    text = read_written(path).strip()
    if path.stat().st_mode & _OPEN_TO_OTHERS:
        raise InputError(
            "other users of this machine may read it, and it holds a password",
            where=str(path),
            remedy=f"chmod 600 {path}",
        )
    if len(text.splitlines()) != 1:
        raise InputError(
            "one line is expected", where=str(path), remedy="USER:PASSWORD, or Bearer TOKEN"
        )
    return text


class DicomWeb:
    """DICOMweb service as an archive."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        logging.getLogger("dicomweb_client").setLevel(logging.CRITICAL)
        session = requests.Session()
        # the archive is in the house: neither the proxy nor passwords of other programs are for it
        session.trust_env = False
        usual = ssl.get_default_verify_paths()
        session.verify = str(endpoint.authority or usual.cafile or usual.capath)
        if endpoint.words.startswith("Bearer "):
            session.headers["Authorization"] = endpoint.words
        elif endpoint.words:
            user, _, password = endpoint.words.partition(":")
            session.auth = (user.encode(), password.encode())
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=_AGAIN))
        self._client = DICOMwebClient(
            endpoint.url, session=session, timeout=(_CONNECT_SECONDS, endpoint.patience)
        )
        # it would try whatever fails five times: a certificate, and each with all its patience
        self._client.set_http_retry_params(retry=False)

    def echo(self) -> str:
        """Return in words that the archive answers a search.

        Raises
        ------
        ArchiveError : it does not; the words say why.
        """
        self.studies("patient", "FEDLNM-ECHO")
        return f"{self._endpoint.place} answers a search (QIDO-RS)"

    def studies(self, by: By, number: str) -> list[FoundStudy]:
        """Return the studies that the archive has under a number."""
        names = ("StudyInstanceUID", "PatientID", "AccessionNumber")
        found = self._pages(
            names,
            lambda **page: self._client.search_for_studies(
                search_filters={TAG[by]: number}, **page
            ),
        )
        return [FoundStudy(*(one[name] for name in names)) for one in found]

    def series(self, study: str) -> list[FoundSeries]:
        """Return the series of a study."""
        names = ("SeriesInstanceUID", "Modality", "NumberOfSeriesRelatedInstances")
        found = self._pages(names, lambda **page: self._client.search_for_series(study, **page))
        return [
            FoundSeries(study, uid, modality, instances_in(count))
            for uid, modality, count in ([one[name] for name in names] for one in found)
        ]

    def retrieve(self, series: FoundSeries, folder: Path) -> None:
        """Write the instances of a series into a folder, one a file.

        Raises
        ------
        SeriesError : the archive breaks off; what has come by then is in the folder.
        """
        with self._explained(SeriesError):
            for one in self._client.iter_series(series.study, series.uid, media_types=_AS_KEPT):
                path = instance_file(folder, str(one.SOPInstanceUID))
                one.save_as(path, enforce_file_format=True)

    def _pages(
        self, names: tuple[str, ...], ask: Callable[..., list[dict[str, Any]]]
    ) -> Iterator[dict[str, str]]:
        """Yield answers to a search, page by page until one holds nothing new."""
        seen: set[str] = set()
        while True:
            with self._explained(ArchiveError):
                page = (
                    ask(offset=len(seen), fields=list(names)) if seen else ask(fields=list(names))
                )
                rows = [{name: _value(one, name) for name in names} for one in page]
            new = [row for row in rows if row[names[0]] not in seen]
            if not new:
                return
            seen |= {row[names[0]] for row in new}
            yield from new

    @contextmanager
    def _explained(self, kind: type[ArchiveError]) -> Iterator[None]:
        """Say in words why the archive does not answer.

        Raises
        ------
        ArchiveError : of this kind, or of its own where no series would come.
        """
        where = self._endpoint.place
        try:
            yield
        except requests.exceptions.SSLError as error:
            raise ArchiveError(
                f"its certificate is not to be trusted ({_reason(error)})",
                where=where,
                remedy="name the hospital's authority with --ca",
            ) from None
        except requests.exceptions.HTTPError as error:
            raise self._refused(error.response, kind) from None
        except requests.exceptions.ConnectTimeout:
            what = f"no connection within {_CONNECT_SECONDS:g} s"
            remedy = "ask the network people to let this machine connect to it"
            raise kind(what, where=where, remedy=remedy) from None
        except requests.exceptions.Timeout:
            what = f"no answer within {self._endpoint.patience:g} s"
            raise kind(what, where=where, remedy="try again, or with more --patience") from None
        except requests.exceptions.JSONDecodeError:
            raise ArchiveError(
                "it answers something else than DICOM",
                where=where,
                remedy="check the address with the PACS team: /studies lies under it",
            ) from None
        except requests.exceptions.RequestException as error:
            raise kind(
                f"cannot be reached ({type(error).__name__})",
                where=where,
                remedy="check host and port; the PACS team knows them",
            ) from None
        except (StudyError, OSError, MemoryError):
            raise
        except Exception as error:  # whatever pydicom and the client raise on it
            what = f"an answer that cannot be read ({type(error).__name__})"
            raise kind(what, where=where, remedy="show it to the PACS team") from None

    def _refused(self, response: Any, kind: type[ArchiveError]) -> ArchiveError:
        where, status = self._endpoint.place, int(response.status_code)
        if status in (401, 403):
            given = (
                "refuses the user and password, or token"
                if self._endpoint.words
                else "asks for a user"
            )
            return ArchiveError(
                f"it {given} ({status})",
                where=where,
                remedy=f"write USER:PASSWORD or Bearer TOKEN into a file for --credentials, or into"
                f" {VARIABLE}",
            )
        if status == 404:
            remedy = "check the address with the PACS team: /studies lies under it"
            return kind("there is nothing (404)", where=where, remedy=remedy)
        return kind(f"it answers {status}", where=where, remedy="ask the PACS team")


def _value(found: Mapping[str, Any], name: str) -> str:
    """Return the first value of an attribute in DICOM's JSON; empty where it has none."""
    values = (found.get(_TAGS[name]) or {}).get("Value") or [""]
    return str(values[0]).strip()


def _reason(error: Exception) -> str:
    """Return OpenSSL's reason, without the rest of what the library says."""
    found = re.search(r"certificate verify failed: ([^(]*)", str(error))
    return found[1].strip() if found else "no TLS"
