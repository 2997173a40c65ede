"""The coordinator's certificates, as a TLS library sees them."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from server.deployment.authority import Pair, days_left, make_authority, make_server


def handshake(server: Pair, trusted: bytes, name: str, folder: Path) -> str:
    """Connect to a server with this certificate; empty, or why it is not trusted."""
    files = {}
    for kind, data in (("pem", server.certificate), ("key", server.key), ("ca", trusted)):
        files[kind] = folder / kind
        files[kind].write_bytes(data)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(files["pem"], files["key"])
    asking = ssl.create_default_context(cafile=str(files["ca"]))
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            serving.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with asking.wrap_socket(ours, server_hostname=name):
            return ""
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    finally:
        ours.close()
        thread.join()


@pytest.fixture(scope="module")
def authority() -> Pair:
    return make_authority("hub.example")


@pytest.mark.parametrize("name", ["hub.example", "localhost", "127.0.0.1"])
def test_the_server_is_trusted_under_its_public_name_and_on_loopback(
    authority: Pair, name: str, tmp_path: Path
) -> None:
    server = make_server(authority, "hub.example")
    assert handshake(server, authority.certificate, name, tmp_path) == ""


def test_an_ip_address_can_be_the_public_name(authority: Pair, tmp_path: Path) -> None:
    server = make_server(authority, "192.0.2.7")
    assert handshake(server, authority.certificate, "192.0.2.7", tmp_path) == ""


def test_another_name_is_not_trusted(authority: Pair, tmp_path: Path) -> None:
    server = make_server(authority, "hub.example")
    assert "mismatch" in handshake(server, authority.certificate, "evil.example", tmp_path)


def test_another_authority_is_not_trusted(authority: Pair, tmp_path: Path) -> None:
    server = make_server(make_authority("hub.example"), "hub.example")
    assert handshake(server, authority.certificate, "hub.example", tmp_path) != ""


def test_an_expired_certificate_is_not_trusted(authority: Pair, tmp_path: Path) -> None:
    server = make_server(authority, "hub.example", days=-1)
    assert "expired" in handshake(server, authority.certificate, "hub.example", tmp_path)
    assert days_left(server.certificate, datetime.now(UTC)) == pytest.approx(-1, abs=0.01)


def test_the_servers_certificate_cannot_sign_another(authority: Pair, tmp_path: Path) -> None:
    server = make_server(authority, "hub.example")
    forged = make_server(server, "hub.example")
    chained = Pair(forged.certificate + server.certificate, forged.key)
    assert handshake(chained, authority.certificate, "hub.example", tmp_path) != ""
