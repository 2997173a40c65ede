"""Check the way to the coordinator: its certificate, its answer, and what the study sends."""

from __future__ import annotations

import http.client
import os
import re
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from cryptography import x509

from client.check.finding import (
    Finding,
    Findings,
    Load,
    Speed,
    not_applicable,
    not_checked,
    ok,
    problem,
    warning,
)
from client.check.proxy import FORM, Proxy, proxy_for
from client.check.registry import check
from client.site import Deployment
from common.dossier.disclosure import Phase
from common.dossier.markdown import size
from common.errors import InputError
from common.study.model import Study
from server.phases.program import declared_phases

SECONDS = 15.0
# a coordinator's proxy passes only such paths on; the content of the answer does not matter
PATH = "/v1/fleet/push-object"
PROBE_BYTES = 4 * 2**20
MEDIA_TYPE = "application/protobuf"
_NOBODY_BEHIND = (
    http.client.BAD_GATEWAY,
    http.client.SERVICE_UNAVAILABLE,
    http.client.GATEWAY_TIMEOUT,
)
# tinyproxy answers 401 to a wrong one
_WITHOUT_PASSWORD = (http.client.PROXY_AUTHENTICATION_REQUIRED, http.client.UNAUTHORIZED)
# tinyproxy answers 500 where nobody listens
_NOBODY_FOUND = (http.client.INTERNAL_SERVER_ERROR, *_NOBODY_BEHIND)
FAILURES = (OSError, http.client.HTTPException, ValueError, InputError)
"""Errors that mean that there was no answer."""


@dataclass(frozen=True)
class Contact:
    """Result of a visit.

    Parameters
    ----------
    failure : why there was no answer, None where there was one.
    certificate : the server's, None without TLS or where none was shown.
    ahead : seconds that this machine's clock is ahead of the server's, within about a second; None
        where the server did not say.
    seconds : from question to answer.
    status : of the answer, 0 where there was none.
    """

    failure: Exception | None = None
    certificate: x509.Certificate | None = None
    ahead: float | None = None
    seconds: float = 0.0
    status: int = 0

    @property
    def serves(self) -> bool:
        """Tell whether a coordinator answered that is there for its hospitals now.

        Its proxy alone answers while no study is run.
        """
        return self.failure is None and self.status not in _NOBODY_BEHIND


def visit(deployment: Deployment) -> Contact:
    """Send an empty request; any answer shows that the server is there."""
    try:
        with closing(_connection(deployment, _context(deployment))) as connection:
            connection.connect()
            certificate = _certificate(connection)
            begin, clock = time.monotonic(), time.time()
            # the proxy itself answers anything but a POST
            connection.request("POST", PATH, b"", {"Content-Type": MEDIA_TYPE})
            response = connection.getresponse()
            seconds = time.monotonic() - begin
            return Contact(
                certificate=certificate,
                ahead=_ahead(response.getheader("Date"), clock + seconds / 2),
                seconds=seconds,
                status=response.status,
            )
    except FAILURES as error:
        return Contact(failure=error, certificate=_shown(deployment, error))


def fetch(deployment: Deployment, path: str, authorization: str, most: int) -> tuple[int, bytes]:
    """Return status and content of a page of the coordinator's.

    Parameters
    ----------
    most : bytes that are read of it.

    Raises
    ------
    OSError, HTTPException, ValueError : there was no answer.
    """
    with closing(_connection(deployment, _context(deployment))) as connection:
        connection.request("GET", path, headers={"Authorization": authorization})
        response = connection.getresponse()
        return response.status, response.read(most)


def _shown(deployment: Deployment, error: Exception) -> x509.Certificate | None:
    """Return the certificate of an untrusted server, to explain the error."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return None
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    try:
        with closing(_connection(deployment, blind)) as connection:
            connection.connect()
            return _certificate(connection)
    except FAILURES:
        return None


def upload_speed(deployment: Deployment) -> float | None:
    """Measure Mbit/s by sending random bytes to the coordinator, which discards them.

    They go to the path of message parts without a node's signature: the server reads them to the
    end and rejects the sender. None if it hung up.
    """
    try:
        with closing(_connection(deployment, _context(deployment))) as connection:
            connection.connect()
            content = os.urandom(PROBE_BYTES)
            begin = time.monotonic()
            connection.request("POST", PATH, content, {"Content-Type": MEDIA_TYPE})
            status = connection.getresponse().status
            seconds = time.monotonic() - begin
    except FAILURES:
        return None
    # refused by its length alone: it was not read
    read = status != http.client.REQUEST_ENTITY_TOO_LARGE
    return 8e-6 * PROBE_BYTES / seconds if read else None


def address(deployment: Deployment) -> tuple[str, int]:
    """Return host and port."""
    host, _, port = deployment.superlink.rpartition(":")
    return host.strip("[]"), int(port)


def _context(deployment: Deployment) -> ssl.SSLContext | None:
    """Return the TLS context that Flower makes; None without TLS."""
    if deployment.insecure:
        return None
    if deployment.root_certificates is None:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=deployment.root_certificates)
    return context


def _connection(
    deployment: Deployment, context: ssl.SSLContext | None
) -> http.client.HTTPConnection:
    """Connect directly, or as the SuperNode will through the hospital's proxy."""
    host, port = address(deployment)
    if context is None:
        return http.client.HTTPConnection(host, port, timeout=SECONDS)
    proxy = proxy_for(deployment)
    if proxy is None:
        return http.client.HTTPSConnection(host, port, timeout=SECONDS, context=context)
    connection = http.client.HTTPSConnection(
        proxy.host, proxy.port, timeout=SECONDS, context=context
    )
    connection.set_tunnel(host, port, headers=proxy.headers())
    return connection


def _certificate(connection: http.client.HTTPConnection) -> x509.Certificate | None:
    if not isinstance(connection.sock, ssl.SSLSocket):
        return None
    der = connection.sock.getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(der) if der else None


def _ahead(date: str | None, clock: float) -> float | None:
    """Return this clock's seconds ahead of a server's Date header, which has whole seconds."""
    if date is None:
        return None
    try:
        return clock - (parsedate_to_datetime(date).timestamp() + 0.5)
    except ValueError:
        return None


PROXY = "coordinator.proxy"
REACH, CERTIFICATE = "coordinator.reach", "coordinator.certificate"
NO_DEPLOYMENT = "site.toml has no [deployment], so no coordinator is known"
SOON = timedelta(days=30)
# OpenSSL's reasons (x509_vfy.h)
_NOT_YET, _EXPIRED, _OTHER_NAME, _OTHER_ADDRESS = 9, 10, 62, 64


@check("site")
def check_coordinator(deployment: Deployment | None, contact: Contact | None) -> Findings:
    """Report a visit; `contact` is None where none was made."""
    if deployment is None or contact is None:
        yield from not_applicable((PROXY, REACH, CERTIFICATE), NO_DEPLOYMENT)
        return
    own = deployment.root_certificates
    if own is not None and not own.is_file():
        why = f"{own.name} is lost, with which the coordinator's certificate is checked"
        yield from not_checked((PROXY, REACH, CERTIFICATE), why)
        return
    try:
        proxy = proxy_for(deployment)
        refused = _refused(proxy, contact.failure) if proxy else None
    except InputError as error:
        refused = problem(PROXY, error.where, error.what, error.remedy)
    if refused is not None:
        yield refused
        yield from not_checked((REACH, CERTIFICATE), "the way through the proxy is barred")
        return
    yield ok(PROXY, _words_of(proxy))
    yield from _reached(deployment, contact, proxy)


def _reached(deployment: Deployment, contact: Contact, proxy: Proxy | None) -> Findings:
    """Report whether the coordinator answered, and under which certificate."""
    host, port = address(deployment)
    where = f"{host}:{port}"
    if isinstance(contact.failure, ssl.SSLCertVerificationError):
        # it answered; an untrusted certificate is reported below
        yield ok(REACH, "answers", where)
        yield _distrusted(where, contact.failure, contact.certificate)
    elif contact.failure is not None:
        if proxy is not None:
            tunnel = _tunnel(contact.failure)
            say = warning if tunnel and int(tunnel[1]) in _NOBODY_FOUND else problem
            yield say(REACH, where, *_beyond_the_proxy(host, proxy, contact.failure))
        else:
            yield _unreachable(where, contact.failure)
        yield from not_checked((CERTIFICATE,), "the coordinator does not answer")
    else:
        idle = "" if contact.serves else "; it runs no study at the moment"
        yield ok(REACH, f"answers within {1000 * contact.seconds:.0f} ms{idle}", where)
        yield from _trusted(where, contact.certificate)


def _words_of(proxy: Proxy | None) -> str:
    if proxy is None:
        return "none is on the way to the coordinator"
    return f"{proxy.place}, {'with a user and a' if proxy.has_password else 'without a'} password"


def _tunnel(failure: Exception | None) -> re.Match[str] | None:
    """Return code and words of a proxy that did not connect."""
    return re.match(r"Tunnel connection failed: (\d{3}) ?(.*)", str(failure))


def _refused(proxy: Proxy, failure: Exception | None) -> Finding | None:
    """Report a proxy that does not let this machine in, which does not pass by itself."""
    found = _tunnel(failure)
    if not found or int(found[1]) not in _WITHOUT_PASSWORD:
        return None
    given = "refuses the user and password that it was given"
    what = given if proxy.has_password else "asks for a user and a password"
    return problem(
        PROXY,
        proxy.place,
        f"the proxy {what}",
        f"write https_proxy={FORM} into proxy.env beside site.toml, with the ones that your"
        " network people gave you",
    )


def _unreachable(where: str, failure: Exception) -> Finding:
    if isinstance(failure, ConnectionRefusedError):
        what = "nothing listens there: the coordinator's proxy does not run now"
        remedy = (
            "ask the coordinator when it will; fedlnm-site run waits for it. If it runs, check the"
            " port in site.toml (superlink), and ask your network people"
        )
        return warning(REACH, where, what, remedy)
    if isinstance(failure, socket.gaierror):
        what, remedy = "the name is not known", "check superlink in site.toml, and the name server"
    elif isinstance(failure, TimeoutError):
        what = f"no answer within {SECONDS:g} s"
        remedy = (
            "ask the hospital's network people to let this machine connect outwards to it, or for"
            " their proxy: https_proxy in proxy.env beside site.toml"
        )
    elif isinstance(failure, ssl.SSLError):
        what = f"no TLS connection ({failure.reason or failure})"
        remedy = "check the port; a firewall that opens TLS connections must let this one pass"
    else:
        what = f"cannot be reached ({type(failure).__name__}: {failure})"
        remedy = "check superlink and root_certificates in site.toml, and the firewall"
    return problem(REACH, where, what, remedy)


def _beyond_the_proxy(host: str, proxy: Proxy, failure: Exception) -> tuple[str, str]:
    """Return fault and remedy where the way leads through the hospital's proxy."""
    named = f"the proxy {proxy.place} (https_proxy)"
    if refused := _tunnel(failure):
        first = f"ask the hospital's network people to let the proxy connect to {host}"
        second = "ask the coordinator whether it runs"
        if refused[1].startswith("5"):  # it tried, and nobody answered
            first, second = second, first
        what = f"{named} does not connect to it ({refused[1]} {refused[2]})"
        return what, f"{first}; if so, {second}"
    if isinstance(failure, socket.gaierror):
        return f"the name of {named} is not known", "write https_proxy as your network people say"
    if isinstance(failure, ConnectionRefusedError):
        return f"nothing listens where {named} is to be", "check https_proxy, name and port"
    if isinstance(failure, TimeoutError):
        return (
            f"no answer within {SECONDS:g} s through {named}",
            f"ask the hospital's network people whether the proxy may connect to {host}",
        )
    return (
        f"no connection through {named} ({type(failure).__name__}: {failure})",
        f"ask the hospital's network people to let the proxy connect to {host}, and leave its TLS"
        " unopened",
    )


def _distrusted(
    where: str, failure: ssl.SSLCertVerificationError, shown: x509.Certificate | None
) -> Finding:
    code = failure.verify_code
    now = f"this machine's clock says {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    if code == _EXPIRED:
        until = f" on {shown.not_valid_after_utc:%Y-%m-%d}" if shown else ""
        what = f"the certificate expired{until}; {now}"
        remedy = "tell the coordinator to renew it, or put the clock right"
    elif code == _NOT_YET:
        since = f" before {shown.not_valid_before_utc:%Y-%m-%d %H:%M} UTC" if shown else ""
        what, remedy = f"the certificate is not valid{since}; {now}", "put the clock right"
    elif code in (_OTHER_NAME, _OTHER_ADDRESS):
        what = "the certificate is for another name"
        remedy = "write superlink in site.toml as the coordinator gave it"
    else:
        what = f"the certificate is not to be trusted ({failure.verify_message})"
        remedy = (
            "compare root_certificates in site.toml with the coordinator's; go on only when sure"
        )
    return problem(CERTIFICATE, where, what, remedy)


def _trusted(where: str, certificate: x509.Certificate | None) -> Findings:
    if certificate is None:
        yield from not_checked((CERTIFICATE,), "insecure = true: there is no TLS")
        return
    until = certificate.not_valid_after_utc
    what = f"holds until {until:%Y-%m-%d}"
    if until - datetime.now(UTC) < SOON:
        remedy = "tell the coordinator: a run must not outlast it"
        yield warning(CERTIFICATE, where, what, remedy)
    else:
        yield ok(CERTIFICATE, what, where)


PAYLOAD, TIME = "transfer.payload", "transfer.time"
# Traffic is about equal in both directions: weights for weights, and questions carry the totals
# of the answers before them.
BOTH_WAYS = 2
HOUR, DAY = 3600.0, 86400.0


def load_of(study: Study, site: str, training: int) -> tuple[Load, ...]:
    """Return the largest traffic of this site in every phase; phases without any are left out."""
    if site not in study.site_names:
        return ()
    loads = (_of_phase(phase, study, site, training) for phase in declared_phases(study))
    return tuple(load for load in loads if load.total)


def _of_phase(phase: Phase, study: Study, site: str, training: int) -> Load:
    own = [
        # of the other hospitals' patients a site knows nothing: about as many as its own
        (one, one.size * training * len(study.training_sites) if one.by_patient else one.size)
        for one in phase.asked_of(study, site)
    ]
    rows = sum(answer * one.rounds for one, answer in own if one.by_patient)
    return Load(
        phase=phase.name,
        rounds=phase.rounds,
        largest=max((answer for _, answer in own), default=0),
        total=phase.bytes_up(study, site) + rows,
    )


def check_transfer(loads: Sequence[Load], speed: Speed | None) -> Findings:
    """Check the largest answer and the total, and the time for a question and its answer."""
    if not loads:
        yield from not_applicable((PAYLOAD, TIME), "the study asks nothing of this site")
        return
    total = sum(load.total for load in loads)
    heaviest = max(loads, key=lambda load: load.largest)
    yield ok(
        PAYLOAD,
        f"at most {size(total)} each way in {sum(load.rounds for load in loads):,} rounds;"
        f" the largest answer is {size(heaviest.largest)} ({heaviest.phase})",
    )
    if speed is None:
        why = "no speed: it is measured while the coordinator runs a study; or give --bandwidth"
        yield from not_checked((TIME,), why)
        return
    whence = "measured" if speed.measured else "assumed"
    each = speed.seconds(BOTH_WAYS * heaviest.largest)
    whole = speed.seconds(BOTH_WAYS * total)
    what = (
        f"at {speed.mbit_per_second:.3g} Mbit/s ({whence}) the largest round takes"
        f" {in_words(each)} on the line, all rounds at most {in_words(whole)}"
    )
    if whole > DAY:
        remedy = "ask for a faster line, or the coordinator for fewer rounds"
        yield warning(TIME, "", what, remedy)
    else:
        yield ok(TIME, what)


def in_words(seconds: float) -> str:
    """Return a time with its usual unit."""
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * HOUR else f"{seconds / HOUR:.1f} h"
