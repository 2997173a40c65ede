"""Whether the coordinator can be reached, and is who it should be."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime, timedelta

from cryptography import x509

from client.check.contact import SECONDS, Contact, address, proxy_for
from client.check.finding import (
    Finding,
    Findings,
    not_applicable,
    not_checked,
    ok,
    problem,
    warning,
)
from client.site import Deployment

REACH, CERTIFICATE = "coordinator.reach", "coordinator.certificate"
NO_DEPLOYMENT = "site.toml has no [deployment], so no coordinator is known"
SOON = timedelta(days=30)
# OpenSSL's reasons (x509_vfy.h)
_NOT_YET, _EXPIRED, _OTHER_NAME, _OTHER_ADDRESS = 9, 10, 62, 64


def look_at_coordinator(deployment: Deployment | None, contact: Contact | None) -> Findings:
    """What a visit showed; `contact` is None where none was made."""
    if deployment is None or contact is None:
        yield from not_applicable((REACH, CERTIFICATE), NO_DEPLOYMENT)
        return
    host, port = address(deployment)
    where = f"{host}:{port}"
    if isinstance(contact.failure, ssl.SSLCertVerificationError):
        # it answered, and that it should not be trusted is said below
        yield ok(REACH, "answers", where)
        yield _distrusted(where, contact.failure, contact.certificate)
    elif contact.failure is not None:
        yield _unreachable(where, host, contact.failure)
        yield from not_checked((CERTIFICATE,), "the coordinator does not answer")
    else:
        yield ok(REACH, f"answers within {1000 * contact.seconds:.0f} ms", where)
        yield from _trusted(where, contact.certificate)


def _unreachable(where: str, host: str, failure: Exception) -> Finding:
    through = " through the proxy of this machine" if proxy_for(host) else ""
    if isinstance(failure, socket.gaierror):
        what, remedy = "the name is not known", "check superlink in site.toml, and the name server"
    elif isinstance(failure, ConnectionRefusedError):
        what = "nothing listens there"
        remedy = "ask the coordinator whether it runs, and check the port"
    elif isinstance(failure, TimeoutError):
        what = f"no answer within {SECONDS:g} s"
        remedy = "ask the hospital's network people to let this machine connect outwards to it"
    elif isinstance(failure, ssl.SSLError):
        what = f"no TLS connection ({failure.reason or failure})"
        remedy = "check the port; a firewall that opens TLS connections must let this one pass"
    else:
        what = f"cannot be reached ({type(failure).__name__}: {failure})"
        remedy = "check superlink and root_certificates in site.toml, and the firewall"
    return problem(REACH, where, f"{what}{through}", remedy)


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
