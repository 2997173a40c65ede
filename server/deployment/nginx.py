"""Configuration of the proxy in front of the SuperLink: hospitals get through to nothing else.

The SuperLink serves its control interface, which has no log-in, on the port that SuperNodes need.
It therefore listens on loopback only, and the proxy passes on the calls of a SuperNode, one by one.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from common.messages.status_ticket import HEADER, PATH
from server.deployment.folder import CoordinatorFolder, CoordinatorSettings

# what a SuperNode of Flower 1.41 calls; to register and unregister itself is not among them
FLEET_CALLS = (
    "activate-node",
    "deactivate-node",
    "send-node-heartbeat",
    "pull-messages",
    "push-messages",
    "get-run",
    "get-fab",
    "pull-object",
    "push-object",
    "confirm-message-received",
)

_SERVER = """\
# Made by fedlnm-server. Belongs into nginx's http block: copy it to /etc/nginx/conf.d/, or use the
# nginx.conf beside it.
{limit}upstream fedlnm_superlink {{
    server 127.0.0.1:{superlink_port};
    keepalive 32;
}}

server {{
    listen {listen} ssl;
    server_name {host};
    server_tokens off;

    ssl_certificate     {certificate};
    ssl_certificate_key {key};
    ssl_protocols       TLSv1.2 TLSv1.3;

    # parts of a message are 5 MB
    client_max_body_size 64m;
    proxy_request_buffering off;
    proxy_buffering off;
    proxy_read_timeout 300s;
    proxy_send_timeout 300s;

    # a SuperNode's calls, under their normalised path
    location ~ ^/v1/fleet/({calls})$ {{
        limit_except POST {{ deny all; }}
        proxy_pass https://fedlnm_superlink$uri;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
        proxy_ssl_verify on;
        proxy_ssl_trusted_certificate {authority};
        proxy_ssl_name localhost;
        proxy_ssl_server_name on;
    }}

{status}    # all else, the control interface above all
    location / {{
        return 403;
    }}
}}
"""

_LIMIT = """\
limit_req_zone $binary_remote_addr zone=fedlnm_status:1m rate=2r/s;

"""
# the program behind it checks the signature; what does not even look like one does not get there
_STATUS = """\
    # how a run stands, for a hospital that signs its request
    location = {path} {{
        limit_except GET {{ deny all; }}
        if ($http_authorization !~ "{header}") {{ return 403; }}
        limit_req zone=fedlnm_status burst=10 nodelay;
        limit_req_status 429;
        client_max_body_size 1k;
        proxy_pass http://127.0.0.1:{port}{path};
        proxy_set_header Connection "";
        proxy_set_header Host 127.0.0.1;
    }}

"""

_MAIN = """\
# Made by fedlnm-server: nginx for this purpose alone.
#   nginx -p {prefix} -c nginx.conf             start
#   nginx -p {prefix} -c nginx.conf -s stop     stop
pid nginx.pid;
error_log error.log;
events {{ worker_connections 1024; }}
http {{
    access_log access.log;
    client_body_temp_path temporary/body;
    proxy_temp_path temporary/proxy;
    fastcgi_temp_path temporary/fastcgi;
    uwsgi_temp_path temporary/uwsgi;
    scgi_temp_path temporary/scgi;
    include fedlnm.conf;
}}
"""


def server_text(folder: CoordinatorFolder) -> str:
    """Return the server block."""
    settings = folder.settings()
    port = settings.status_port
    return _SERVER.format(
        limit=_LIMIT if port else "",
        status=_STATUS.format(path=PATH, header=HEADER, port=port) if port else "",
        superlink_port=settings.port,
        listen=_listen(settings),
        host=settings.host.strip("[]"),
        certificate=folder.server_certificate,
        key=folder.server_key,
        authority=folder.authority,
        calls="|".join(FLEET_CALLS),
    )


def _listen(settings: CoordinatorSettings) -> str:
    address = f"[{settings.listen}]" if ":" in settings.listen else settings.listen
    return f"{address}:{settings.public_port}" if address else str(settings.public_port)


def own_address(host: str) -> str:
    """Return the one address of this machine that a public name or IP address leads to.

    Empty where it leads to another machine, such as a router in front of this one, or to several
    addresses. A loopback address counts for a loopback name alone: Debian gives a machine's own
    name one, on which no hospital could call.
    """
    try:
        answers = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except OSError:
        return ""
    found = {str(answer[4][0]) for answer in answers if _is_here(answer)}
    named = host == "localhost" or found == {host.strip("[]")}
    outer = {one for one in found if named or not ip_address(one).is_loopback}
    ipv4 = {one for one in outer if ip_address(one).version == 4} or outer
    return ipv4.pop() if len(ipv4) == 1 else ""


def _is_here(answer: Any) -> bool:
    """Tell if a socket of this machine can have an address."""
    with socket.socket(answer[0], socket.SOCK_STREAM) as tried:
        try:
            tried.bind((answer[4][0], 0))
        except OSError:
            return False
    return True


def main_text(prefix: Path) -> str:
    """Return a whole configuration, for a machine whose nginx has nothing else to do."""
    return _MAIN.format(prefix=prefix)


def write_proxy(folder: CoordinatorFolder) -> None:
    """Write both files into the coordinator's folder."""
    (folder.proxy / "temporary").mkdir(parents=True, exist_ok=True)
    (folder.proxy / "fedlnm.conf").write_text(server_text(folder), encoding="utf-8")
    (folder.proxy / "nginx.conf").write_text(main_text(folder.proxy), encoding="utf-8")
