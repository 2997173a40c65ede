"""Search and retrieve from a PACS over DIMSE: C-FIND, then C-GET or C-MOVE."""

from __future__ import annotations

import logging
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from pydicom import Dataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    RTStructureSetStorage,
    SegmentationStorage,
)
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind as Find,
)
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelGet as Get,
)
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelMove as Move,
)
from pynetdicom.sop_class import Verification

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
from common.errors import InputError

OWN_TITLE = "FEDLNM"
SERVICES = {Find: "C-FIND", Get: "C-GET", Move: "C-MOVE"}
STORAGE = (CTImageStorage, RTStructureSetStorage, SegmentationStorage)
PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
CODED = (JPEGLosslessSV1, JPEGLossless, JPEGLSLossless, JPEG2000Lossless, RLELossless)
"""Lossless transfer syntaxes. Each has a context of its own, so that an archive sends what it keeps
as it keeps it."""
_FORM = re.compile(r"([^@\s\\]{1,16})@(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_TITLE = re.compile(r"[\x21-\x5b\x5d-\x7e]{1,16}")
_SUCCESS, _PENDING, _WARNING, _UNKNOWN_DESTINATION = 0x0000, (0xFF00, 0xFF01), 0xB000, 0xA801
_NO_RESOURCES, _REFUSED = 0xA700, 0x0124
_CONNECT_SECONDS = 20.0
# PS3.8, table 9-21: who refuses and why
_CALLING, _CALLED = (1, 3), (1, 7)


@dataclass(frozen=True)
class Peer:
    """Archive at the other end, and this machine as it knows it.

    Parameters
    ----------
    title, host, port : of the archive.
    own : AE title of this machine.
    listen : port of this machine for C-MOVE; 0 = C-GET, for which none is opened.
    tls : encrypt and check the archive's certificate.
    authority : PEM file with the certificates that are trusted; None = those of this machine.
    certificate : PEM file with key and certificate of this machine, where the archive asks for it.
    patience : seconds that the archive may be silent.
    """

    title: str
    host: str
    port: int
    own: str = OWN_TITLE
    listen: int = 0
    tls: bool = False
    authority: Path | None = None
    certificate: Path | None = None
    patience: float = 300.0

    @property
    def place(self) -> str:
        """Return its address in words."""
        return f"{self.title}@{self.host}:{self.port}"


def parse_peer(text: str) -> tuple[str, str, int]:
    """Return AE title, host and port.

    >>> parse_peer("PACS@pacs.example.org:104")
    ('PACS', 'pacs.example.org', 104)

    Raises
    ------
    InputError : it has another form.
    """
    found = _FORM.fullmatch(text.strip())
    if found is None or not _TITLE.fullmatch(found[1]) or not 0 < int(found[3]) < 65536:
        raise InputError(
            "an archive is written as TITLE@HOST:PORT, its AE title of at most 16 signs",
            where=text,
            remedy="ask the PACS team for the three: PACS@pacs.example.org:104",
        )
    return found[1], found[2].strip("[]"), int(found[3])


def check_title(text: str) -> str:
    """Return an AE title; InputError where it cannot be one (PS3.5, 6.2)."""
    if not _TITLE.fullmatch(text):
        remedy = "1 to 16 letters, digits and signs, without blanks and \\"
        raise InputError("this is no AE title", where=text, remedy=remedy)
    return text


class Pacs:
    """PACS as an archive; each search and each series has an association of its own."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        # its own words name persons, and are no help at a hospital
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)

    def echo(self) -> str:
        """Return what the archive answers to a C-ECHO, and what it offers to this machine.

        Raises
        ------
        ArchiveError : it does not answer; the words say why.
        """
        contexts = [build_context(one) for one in (Verification, *SERVICES)]
        with self._association(contexts) as association:
            status = association.send_c_echo()
            code = _code(status, self._peer, "C-ECHO")
            offered = [name for one, name in SERVICES.items() if one in _accepted(association)]
        what = ", ".join(offered) or "no search and no retrieval"
        return f"{self._peer.place} answers C-ECHO (status {code:#06x}) and offers {what}"

    def studies(self, by: By, number: str) -> list[FoundStudy]:
        """Return the studies that the archive has under a number."""
        keys = {"StudyInstanceUID": "", "PatientID": "", "AccessionNumber": "", TAG[by]: number}
        return [
            FoundStudy(
                _text(one, "StudyInstanceUID"),
                _text(one, "PatientID"),
                _text(one, "AccessionNumber"),
            )
            for one in self._find("STUDY", keys)
        ]

    def series(self, study: str) -> list[FoundSeries]:
        """Return the series of a study."""
        keys = {
            "StudyInstanceUID": study,
            "SeriesInstanceUID": "",
            "Modality": "",
            "NumberOfSeriesRelatedInstances": "",
        }
        return [
            FoundSeries(
                study,
                _text(one, "SeriesInstanceUID"),
                _text(one, "Modality"),
                instances_in(_text(one, "NumberOfSeriesRelatedInstances")),
            )
            for one in self._find("SERIES", keys)
        ]

    def retrieve(self, series: FoundSeries, folder: Path) -> None:
        """Write the instances of a series into a folder, one a file.

        Raises
        ------
        SeriesError : the archive breaks off; what has come by then is in the folder.
        """
        store = _Store(series, folder)
        asked = Dataset()
        asked.QueryRetrieveLevel = "SERIES"
        asked.StudyInstanceUID, asked.SeriesInstanceUID = series.study, series.uid
        if self._peer.listen:
            self._move(asked, store)
        else:
            self._get(asked, store)

    def _find(self, level: str, keys: dict[str, str]) -> Iterator[Dataset]:
        asked = Dataset()
        asked.QueryRetrieveLevel = level
        if not all(value.isascii() for value in keys.values()):
            asked.SpecificCharacterSet = "ISO_IR 192"
        for name, value in keys.items():
            setattr(asked, name, value)
        with self._association([build_context(Find)]) as association:
            for status, found in association.send_c_find(asked, Find):
                code = _code(status, self._peer, "C-FIND")
                if code in _PENDING and found is not None:
                    yield found
                elif code != _SUCCESS:
                    raise self._error(f"it refuses the search (C-FIND, status {code:#06x})", _QUERY)

    def _get(self, asked: Dataset, store: _Store) -> None:
        contexts = [build_context(Get), *_storage_contexts()]
        roles = [build_role(kind, scp_role=True) for kind in STORAGE]
        handlers = [(evt.EVT_C_STORE, store.take)]
        with self._association(contexts, roles, handlers) as association:
            _check_storage(association, self._peer)
            _follow(association.send_c_get(asked, Get), self._peer, "C-GET", store)

    def _move(self, asked: Dataset, store: _Store) -> None:
        with self._listening(store), self._association([build_context(Move)]) as association:
            answers = association.send_c_move(asked, self._peer.own, Move)
            _follow(answers, self._peer, "C-MOVE", store)

    @contextmanager
    def _listening(self, store: _Store) -> Iterator[None]:
        """Listen for what the archive sends, which it alone may, while the block lasts.

        Raises
        ------
        ArchiveError : the port cannot be opened.
        """
        peer = self._peer
        entity = _entity(peer)
        entity.require_called_aet, entity.require_calling_aet = True, [peer.title]
        contexts = [build_context(kind, list(PLAIN + CODED)) for kind in STORAGE]
        contexts.append(build_context(Verification))
        try:
            server = entity.start_server(
                ("", peer.listen),
                block=False,
                evt_handlers=[(evt.EVT_C_STORE, store.take), *_PROMPT],
                contexts=contexts,
                ssl_context=_server_context(peer) if peer.tls else None,
            )
        except OSError as error:
            raise ArchiveError(
                f"port {peer.listen} of this machine cannot be opened: {error.strerror}",
                where="--listen",
                remedy="name another port, and let the PACS team enter it",
            ) from None
        try:
            yield
        finally:
            server.shutdown()

    @contextmanager
    def _association(
        self, contexts: list[PresentationContext], roles: Any = None, handlers: Any = None
    ) -> Iterator[Association]:
        """Open an association, and release it at the end.

        Raises
        ------
        ArchiveError : it cannot be opened; the words say why.
        """
        peer = self._peer
        self._check_line()
        received: list[Any] = []
        watch = (evt.EVT_ACSE_RECV, lambda event: received.append(event.primitive))
        association = _entity(peer).associate(
            peer.host,
            peer.port,
            contexts,
            ae_title=peer.title,
            ext_neg=roles,
            evt_handlers=[*(handlers or ()), watch, *_PROMPT],
            tls_args=(_client_context(peer), peer.host) if peer.tls else None,
        )
        try:
            service = UID(str(contexts[0].abstract_syntax))
            is_let_in = any(getattr(one, "result", None) == 0 for one in received)
            if is_let_in and service not in _accepted(association):
                raise self._error(f"it does not offer {service.name} to this machine", _OFFER)
            if not association.is_established:
                raise self._refusal(association, received)
            yield association
        finally:
            if association.is_established:
                association.release()
            else:
                association.abort()

    def _check_line(self) -> None:
        """Return if something listens there, and speaks TLS where it should."""
        peer = self._peer
        try:
            with socket.create_connection((peer.host, peer.port), _CONNECT_SECONDS) as line:
                if peer.tls:
                    self._check_tls(line)
        except socket.gaierror:
            raise self._error("the name is not known", "check host, and the name server") from None
        except ConnectionRefusedError:
            raise self._error(
                "nothing listens there", "check host and port with the PACS team"
            ) from None
        except TimeoutError:
            what = f"no answer within {_CONNECT_SECONDS:g} s"
            raise self._error(
                what, "ask the network people to let this machine connect to it"
            ) from None
        except OSError as error:
            raise self._error(
                f"cannot be reached ({error.strerror or error})", "check host and port"
            ) from None

    def _check_tls(self, line: socket.socket) -> None:
        """Return if the archive speaks TLS, under a certificate that is trusted.

        Raises
        ------
        ArchiveError : it does not.
        """
        try:
            with _client_context(self._peer).wrap_socket(line, server_hostname=self._peer.host):
                pass
        except ssl.SSLCertVerificationError as error:
            what = f"its certificate is not to be trusted ({error.verify_message})"
            raise self._error(what, "name the hospital's authority with --ca") from None
        except ssl.SSLError as error:
            raise self._error(f"no TLS connection ({error.reason or error})", _TLS) from None
        except OSError as error:
            raise self._error(f"no TLS connection ({error.strerror or error})", _TLS) from None

    def _refusal(self, association: Association, received: list[Any]) -> ArchiveError:
        """Return why an association was not opened."""
        answer = received[-1] if received else None
        reason = (getattr(answer, "result_source", None), getattr(answer, "diagnostic", None))
        if association.is_rejected and reason == _CALLED:
            what = f'it does not call itself "{self._peer.title}"'
            return self._error(what, "ask the PACS team for its AE title; capitals count")
        if association.is_rejected and reason == _CALLING:
            what = f'it does not know this machine as "{self._peer.own}"'
            return self._error(
                what,
                "ask the PACS team to enter this AE title (docs/pacs.md), or name"
                " another with --own-title",
            )
        if association.is_rejected:
            return self._error(f"it refuses the association (source and reason {reason})", _OFFER)
        what = "it broke off while the association was opened"
        return self._error(what, "check port, --tls and --certificate with the PACS team")

    def _error(self, what: str, remedy: str) -> ArchiveError:
        return ArchiveError(what, where=self._peer.place, remedy=remedy)


_QUERY = "ask the PACS team to allow this machine to search (Study Root C-FIND)"
_TLS = "check the port; --certificate names this machine's own where the archive asks for one"
_OFFER = "show the PACS team docs/pacs.md, which lists all that is asked"


def _acknowledge(event: Any) -> None:
    """Let the next bytes be acknowledged when they come.

    Archives write an instance in pieces and wait for word of the first: Linux, which keeps it back
    for 40 ms, would take most of the time of a retrieval.
    """
    line = event.assoc.dul.socket
    if line is not None and line.socket is not None:
        line.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


# each reply puts it off once more
_PROMPT = [(one, _acknowledge) for one in (evt.EVT_DATA_RECV, evt.EVT_DATA_SENT)]
if not hasattr(socket, "TCP_QUICKACK"):  # not Linux
    _PROMPT = []


class _Store:
    """Receiver of the instances of one series."""

    def __init__(self, series: FoundSeries, folder: Path) -> None:
        self._series, self._folder, self._lock = series, folder, Lock()
        self.trouble = ""

    def take(self, event: Any) -> int:
        """Write an instance as it came, and return the status of the C-STORE."""
        try:
            header = event.dataset
            if str(header.get("SeriesInstanceUID", "")) != self._series.uid:
                return _REFUSED
            name = str(event.request.AffectedSOPInstanceUID)
            with self._lock:
                instance_file(self._folder, name).write_bytes(event.encoded_dataset())
        except OSError as error:
            self.trouble = f"cannot be written: {error.strerror}"
            return _NO_RESOURCES
        except Exception as error:  # a damaged instance; the others come
            self.trouble = f"an instance that cannot be read ({type(error).__name__})"
            return _REFUSED
        return _SUCCESS


def _follow(answers: Any, peer: Peer, service: str, store: _Store) -> None:
    """Follow the answers to a C-GET or C-MOVE to their end.

    Raises
    ------
    ArchiveError : the archive will not do it for any series.
    SeriesError : this series did not come whole.
    """
    for status, _ in answers:
        code = _code(status, peer, service)
        if code in _PENDING:
            continue
        if code == _UNKNOWN_DESTINATION:
            raise ArchiveError(
                f'it does not know where "{peer.own}" is, and cannot send there',
                where=peer.place,
                remedy=f"ask the PACS team to enter AE title {peer.own} with this machine's address"
                f" and port {peer.listen}",
            )
        failed = status.get("NumberOfFailedSuboperations") or 0
        if store.trouble:
            raise SeriesError(store.trouble, where=peer.place)
        if code == _WARNING or failed:
            raise SeriesError(f"{failed} files were not sent ({service})", where=peer.place)
        if code != _SUCCESS:
            raise SeriesError(f"{service} failed with status {code:#06x}", where=peer.place)


def _code(status: Dataset, peer: Peer, service: str) -> int:
    """Return the status of an answer.

    Raises
    ------
    SeriesError : the archive fell silent.
    """
    if "Status" not in status:
        raise SeriesError(
            f"it broke off, or said nothing for {peer.patience:g} s ({service})",
            where=peer.place,
            remedy="try again; --patience gives an archive that fetches from tape more time",
        )
    return int(status.Status)


def _entity(peer: Peer) -> AE:
    """Return this machine as an application entity."""
    entity = AE(ae_title=peer.own)
    entity.acse_timeout = entity.connection_timeout = _CONNECT_SECONDS
    entity.dimse_timeout = entity.network_timeout = peer.patience
    return entity


def _storage_contexts() -> list[PresentationContext]:
    """Return the contexts for what is sent to this machine."""
    found = []
    for kind in STORAGE:
        coded = CODED if kind != RTStructureSetStorage else (DeflatedExplicitVRLittleEndian,)
        found += [build_context(kind, syntax) for syntax in (*PLAIN, *coded)]
    return found


def _accepted(association: Association) -> set[str]:
    return {str(one.abstract_syntax) for one in association.accepted_contexts}


def _check_storage(association: Association, peer: Peer) -> None:
    """Return if the archive sends CT, contours and segmentations to whoever asks.

    Raises
    ------
    ArchiveError : it does not.
    """
    lacking = [kind.name for kind in STORAGE[:2] if str(kind) not in _accepted(association)]
    if lacking:
        raise ArchiveError(
            f"it does not send {' and '.join(lacking)} by C-GET",
            where=peer.place,
            remedy="ask the PACS team to allow these SOP classes, or use C-MOVE: --listen PORT",
        )


def _text(found: Dataset, name: str) -> str:
    """Return an element of an answer; empty where it has none, or one against the standard."""
    try:
        value = found.get(name)
    except Exception:  # whatever pydicom raises
        return ""
    return "" if value is None else str(value).strip().strip("\0")


def _client_context(peer: Peer) -> ssl.SSLContext:
    return _with_certificate(ssl.create_default_context(cafile=peer.authority), peer)


def _server_context(peer: Peer) -> ssl.SSLContext:
    """Return the context in which the archive connects back, with the same trust."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=peer.authority)
    context.verify_mode = ssl.CERT_REQUIRED
    return _with_certificate(context, peer)


def _with_certificate(context: ssl.SSLContext, peer: Peer) -> ssl.SSLContext:
    if peer.certificate is not None:
        try:
            context.load_cert_chain(peer.certificate)
        except (OSError, ssl.SSLError):
            raise InputError(
                "no PEM file with a key and its certificate, or its key has a password",
                where=str(peer.certificate),
                remedy="write both into one file in PEM, for this user alone",
            ) from None
    return context
