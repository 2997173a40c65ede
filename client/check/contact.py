"""One visit to the coordinator, as a SuperNode would make it, without telling it anything."""

from __future__ import annotations

import http.client
import os
import ssl
import time
import urllib.request
from contextlib import closing
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from cryptography import x509

from client.site import Deployment

SECONDS = 15.0
# behind the proxy of a coordinator only such paths are passed on; what comes back does not matter
PATH = "/v1/fleet/push-object"
PROBE_BYTES = 4 * 2**20
MEDIA_TYPE = "application/protobuf"
_FAILURES = (OSError, http.client.HTTPException, ValueError)


@dataclass(frozen=True)
class Contact:
    """What a visit showed.

    Parameters
    ----------
    failure : why there was no answer, None where there was one.
    certificate : the server's, None without TLS or where none was shown.
    ahead : seconds that this machine's clock is ahead of the server's, within about a second; None
        where the server did not say.
    seconds : from question to answer.
    """

    failure: Exception | None = None
    certificate: x509.Certificate | None = None
    ahead: float | None = None
    seconds: float = 0.0


def visit(deployment: Deployment) -> Contact:
    """Ask for nothing; whatever the server answers, it is there."""
    try:
        with closing(_connection(deployment, _context(deployment))) as connection:
            connection.connect()
            certificate = _certificate(connection)
            begin, clock = time.monotonic(), time.time()
            connection.request("GET", PATH)
            response = connection.getresponse()
            seconds = time.monotonic() - begin
            return Contact(
                certificate=certificate,
                ahead=_ahead(response.getheader("Date"), clock + seconds / 2),
                seconds=seconds,
            )
    except _FAILURES as error:
        return Contact(failure=error, certificate=_shown(deployment, error))


def _shown(deployment: Deployment, error: Exception) -> x509.Certificate | None:
    """The certificate of a server that was not trusted, to tell what is wrong with it."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return None
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    try:
        with closing(_connection(deployment, blind)) as connection:
            connection.connect()
            return _certificate(connection)
    except _FAILURES:
        return None


def upload_speed(deployment: Deployment) -> float | None:
    """Mbit/s of random bytes sent to the coordinator, which throws them away; None if it hung up.

    They go where parts of messages go, without a node's signature: the server reads them to the
    end and answers that they are of nobody.
    """
    try:
        with closing(_connection(deployment, _context(deployment))) as connection:
            connection.connect()
            content = os.urandom(PROBE_BYTES)
            begin = time.monotonic()
            connection.request("POST", PATH, content, {"Content-Type": MEDIA_TYPE})
            status = connection.getresponse().status
            seconds = time.monotonic() - begin
    except _FAILURES:
        return None
    # refused by its length alone: it was not read
    read = status != http.client.REQUEST_ENTITY_TOO_LARGE
    return 8e-6 * PROBE_BYTES / seconds if read else None


def address(deployment: Deployment) -> tuple[str, int]:
    """Host and port."""
    host, _, port = deployment.superlink.rpartition(":")
    return host.strip("[]"), int(port)


def _context(deployment: Deployment) -> ssl.SSLContext | None:
    """As Flower makes it; None without TLS."""
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
    """Straight, or through the proxy that this machine's environment names, as Flower goes."""
    host, port = address(deployment)
    if context is None:
        return http.client.HTTPConnection(host, port, timeout=SECONDS)
    proxy = proxy_for(host)
    if proxy is None:
        return http.client.HTTPSConnection(host, port, timeout=SECONDS, context=context)
    connection = http.client.HTTPSConnection(*proxy, timeout=SECONDS, context=context)
    connection.set_tunnel(host, port)
    return connection


def proxy_for(host: str) -> tuple[str, int] | None:
    """The proxy of the hospital on the way to a host."""
    proxy = urllib.request.getproxies().get("https")
    if not proxy or urllib.request.proxy_bypass(host):
        return None
    parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    return parts.hostname or "", parts.port or 80


def _certificate(connection: http.client.HTTPConnection) -> x509.Certificate | None:
    if not isinstance(connection.sock, ssl.SSLSocket):
        return None
    der = connection.sock.getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(der) if der else None


def _ahead(date: str | None, clock: float) -> float | None:
    """Seconds from a server's Date header, which is cut to whole seconds, to this clock."""
    if date is None:
        return None
    try:
        return clock - (parsedate_to_datetime(date).timestamp() + 0.5)
    except ValueError:
        return None
