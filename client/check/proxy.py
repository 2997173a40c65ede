"""Find the hospital's proxy: one answer for the checks, the SuperNode and `fedlnm-site status`.

The file proxy.env beside site.toml names it, or else the environment. No password is in any message
of this module, in a name of a process, or in the text of a `Proxy`.
"""

from __future__ import annotations

import os
import re
import ssl
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import quote, unquote

from client.site import Deployment
from common.errors import InputError
from common.utils.text_file import read_written

FORM = "http://USER:PASSWORD@HOST:PORT"
_NAMES = ("https", "http", "all", "no")
_PLACE = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?/?")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_LINE = re.compile(r"(?:export\s+)?([A-Za-z]+)_proxy\s*=\s*(.*)", re.IGNORECASE)
_OPEN_TO_OTHERS = 0o077
_USUAL_PORT, _MOST_PORT = 80, 65535


@dataclass(frozen=True)
class Proxy:
    """Hospital's proxy, which connects to the coordinator for this machine (HTTP CONNECT).

    Parameters
    ----------
    user, password : for Basic authentication; both empty where the proxy asks for none.
    """

    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def place(self) -> str:
        """Host and port, without the password."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def has_password(self) -> bool:
        """True if a user or a password goes with it."""
        return bool(self.user or self.password)

    def headers(self) -> dict[str, str]:
        """Return the headers that it wants to see.

        >>> Proxy("proxy", 3128, "anna", "p@ss").headers()
        {'Proxy-Authorization': 'Basic YW5uYTpwQHNz'}
        """
        if not self.has_password:
            return {}
        pair = f"{self.user}:{self.password}".encode()
        return {"Proxy-Authorization": f"Basic {b64encode(pair).decode()}"}

    def url(self) -> str:
        """Return the address in the one form that every library reads alike."""
        words = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@"
        return f"http://{words if self.has_password else ''}{self.place}"


def parse_proxy(text: str) -> Proxy:
    """Read an address of the form http://USER:PASSWORD@HOST:PORT.

    Everything before the last @ is user and password, so that most signs may stand there as they
    are; a % begins the code of a sign, as in %40.

    Raises
    ------
    InputError : it has another form; the text itself is not repeated.

    Examples
    --------
    >>> parse_proxy("http://anna:p@ss/word@proxy.example.org:3128").password
    'p@ss/word'
    """
    # a password may hold :// itself
    found = _SCHEME.match(text.strip())
    scheme, rest = (found[1], text.strip()[found.end() :]) if found else ("http", text.strip())
    words, _, place = rest.rpartition("@")
    form = _PLACE.fullmatch(place)
    port = int(form[2] or _USUAL_PORT) if form else 0
    if form is None or scheme.lower() != "http" or not 0 < port <= _MOST_PORT:
        raise InputError(
            f"the address of the proxy (https_proxy) has not the form {FORM}",
            where="https_proxy",
            remedy="write it so, with http:// also for a proxy that leads to https, and with %25"
            " for a % in the password",
        )
    user, _, password = words.partition(":")
    return Proxy(form[1].strip("[]"), port, unquote(user), unquote(password))


def proxy_for(deployment: Deployment) -> Proxy | None:
    """Return the proxy on the way to the coordinator; None where the way is direct.

    Raises
    ------
    InputError : its address is not readable as one, or others may read the file with its password.
    """
    if deployment.insecure:
        return None
    known = {**urllib.request.getproxies_environment(), **_of_file(deployment.proxy)}
    text = known.get("https") or known.get("all")
    host, _, port = deployment.superlink.rpartition(":")
    if not text or is_exempt(host.strip("[]"), int(port), known.get("no", "")):
        return None
    return parse_proxy(text)


def is_exempt(host: str, port: int, no_proxy: str) -> bool:
    """Return whether a list of exemptions covers a host.

    An entry is a name, which stands for all names that end with it, an address, a network as
    10.0.0.0/8, or * for everything; a port may follow a name or an address.

    >>> is_exempt("hub.example.org", 8443, "localhost, .example.org")
    True
    >>> is_exempt("10.2.3.4", 8443, "10.0.0.0/8")
    True
    >>> is_exempt("hub.example.org", 8443, "example.org:443")
    False
    """
    return any(_covers(entry, host.lower(), port) for entry in re.split(r"[\s,]+", no_proxy))


def _covers(entry: str, host: str, port: int) -> bool:
    entry = entry.lower()
    if entry == "*":
        return True
    with suppress(ValueError):
        return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
    name, colon, number = entry.rpartition(":")
    if colon and number.isdecimal():
        return int(number) == port and bool(name) and _covers(name, host, port)
    name = entry.removeprefix("*").removeprefix(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _of_file(path: Path | None) -> dict[str, str]:
    """Return what a file of lines NAME_proxy=VALUE says, by names in small letters."""
    if path is None or not path.is_file():
        return {}
    lines = map(_LINE.fullmatch, map(str.strip, read_written(path).splitlines()))
    found = {line[1].lower(): _unquoted(line[2]) for line in lines if line}
    if any("@" in value for value in found.values()) and path.stat().st_mode & _OPEN_TO_OTHERS:
        raise InputError(
            "other users of this machine may read it, and it holds a password",
            where=str(path),
            remedy=f"chmod 600 {path}",
        )
    return found


def _unquoted(value: str) -> str:
    """Return a value without the quotes around it, as systemd reads it."""
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if quoted else value


def without_proxy(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program that talks to this machine alone, without passwords."""
    names = {f"{name}_proxy" for name in _NAMES}
    return {name: value for name, value in environment.items() if name.lower() not in names}


def way_out(deployment: Deployment) -> dict[str, str]:
    """Return what Flower's program needs in its environment to connect as the checks did.

    Its libraries read lists of exemptions otherwise, and trust other certificates than this
    machine's where none are given.

    Raises
    ------
    InputError : as `proxy_for`.
    """
    proxy = proxy_for(deployment)
    found = {"https_proxy": proxy.url()} if proxy else {"no_proxy": "*"}
    if deployment.root_certificates is None and not os.environ.get("SSL_CERT_DIR"):
        usual = ssl.get_default_verify_paths()
        if usual.cafile:
            found["SSL_CERT_FILE"] = usual.cafile
        elif usual.capath:
            found["SSL_CERT_DIR"] = usual.capath
    return found
