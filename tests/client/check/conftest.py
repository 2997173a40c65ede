"""A coordinator's server that says whatever a test needs, and a site that has joined it."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from time import time

import pytest
import tomli_w
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from client.site import Deployment
from common.masking import identity
from common.study.model import SiteEntry, Study
from server.deployment.authority import Pair, make_authority, make_server


@dataclass(frozen=True)
class Hub:
    """A listening server, and the authority that its certificate should be checked with."""

    port: int
    authority: bytes

    def deployment(self, keys: Path, host: str = "localhost") -> Deployment:
        """Return the site.toml settings of a site that joined; write its files to `keys`."""
        keys.mkdir(parents=True, exist_ok=True)
        (keys / "coordinator.pem").write_bytes(self.authority)
        if not (keys / "node").exists():
            write_node_key(keys / "node")
        return Deployment(
            superlink=f"{host}:{self.port}",
            root_certificates=keys / "coordinator.pem",
            node_key=keys / "node",
        )


def write_node_key(path: Path) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    path.chmod(0o600)


def handler(ahead: float, received: list[int]) -> type[http.server.BaseHTTPRequestHandler]:
    """Answers like a SuperLink that knows nobody; its clock is `ahead` seconds off."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, status: int) -> None:
            self.send_response_only(status)
            self.send_header("Date", formatdate(time() + ahead, usegmt=True))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            self.answer(405)

        def do_POST(self) -> None:
            received.append(len(self.rfile.read(int(self.headers["Content-Length"]))))
            self.answer(401)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Handler


@contextmanager
def listening(
    folder: Path, authority: Pair, *, host: str, days: int, ahead: float, received: list[int]
) -> Iterator[int]:
    """The port of a TLS server."""
    pair = make_server(authority, host, days)
    certificate, key = folder / f"{host}-{days}.pem", folder / f"{host}-{days}.key"
    certificate.write_bytes(pair.certificate)
    key.write_bytes(pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler(ahead, received))
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def authority() -> Pair:
    return make_authority("test")


HubMaker = Callable[..., Hub]


@pytest.fixture(scope="module")
def hub(authority: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubMaker]:
    """Makes servers; they stop when the module's tests are over."""
    folder = tmp_path_factory.mktemp("hub")
    with ExitStack() as stack:

        def make(
            *, host: str = "localhost", days: int = 90, ahead: float = 0.0, received: object = None
        ) -> Hub:
            heard = received if isinstance(received, list) else []
            server = listening(folder, authority, host=host, days=days, ahead=ahead, received=heard)
            return Hub(stack.enter_context(server), authority.certificate)

        yield make


@pytest.fixture(scope="session")
def joined() -> Callable[[Path, str, Study, Deployment | None], Study]:
    """Writes site.toml and the identity key of a site; the study with this key in its roster."""

    def join(folder: Path, name: str, study: Study, deployment: Deployment | None) -> Study:
        key = identity.generate()
        identity.save(key, folder / "keys" / "identity.pem")
        settings: dict[str, object] = {"name": name, "workers": 1}
        if deployment is not None:
            settings["deployment"] = deployment.model_dump(mode="json", exclude_none=True)
        (folder / "site.toml").write_text(tomli_w.dumps(settings), encoding="utf-8")
        public = identity.public_text(key.public_key())
        entries = tuple(
            SiteEntry(name=s.name, trains=s.trains, public_key=public) if s.name == name else s
            for s in study.sites
        )
        return study.model_copy(update={"sites": entries})

    return join
