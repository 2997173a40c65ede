"""A hospital's proxy: found in its file or the environment, never with its password in words."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from unittest import mock
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.check.proxy import Proxy, is_exempt, parse_proxy, proxy_for, way_out, without_proxy
from client.site import Deployment
from common.errors import InputError

WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
Made = Callable[..., Deployment]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Make a connection to a coordinator, with a file of the proxy beside it."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)

    def make(
        text: str = "", address: str = "hub.example.org:8443", mode: int = 0o600
    ) -> Deployment:
        file = tmp_path / "proxy.env"
        if text:
            file.write_text(text, encoding="utf-8")
            file.chmod(mode)
        node, own = tmp_path / "node", tmp_path / "coordinator.pem"
        return Deployment(superlink=address, node_key=node, root_certificates=own, proxy=file)

    return make


@given(WORDS.filter(lambda text: ":" not in text), WORDS)
def test_any_user_and_password_in_codes_arrive_at_the_library_that_connects(
    user: str, password: str
) -> None:
    found = parse_proxy(f"http://{quote(user, safe='')}:{quote(password, safe='')}@proxy:3128")
    assert (found.user, found.password) == (user, password)
    sent = httpx.Proxy(found.url())
    assert sent.raw_auth == (user.encode(), password.encode())
    assert (sent.url.host, sent.url.port) == ("proxy", 3128)


@given(WORDS.filter(lambda text: "%" not in text))
def test_a_password_may_stand_as_it_is_if_it_has_no_percent_sign(password: str) -> None:
    assert parse_proxy(f"http://anna:{password}@proxy:3128").password == password


@given(st.text(max_size=30), WORDS.filter(lambda text: len(text) > 5))
def test_no_part_of_a_password_is_in_the_words_about_an_unreadable_address(
    before: str, password: str
) -> None:
    secret = f"Q{password}Q"
    without_host = f"a:{secret.replace('@', '')}"
    for text in (f"{before}://a:{secret}@proxy:99999", f"http://a:{secret}@", without_host):
        with pytest.raises(InputError) as error:
            parse_proxy(text)
        assert secret not in str(error.value)
        assert error.value.__cause__ is None
        assert "http://USER:PASSWORD@HOST:PORT" in error.value.what


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("proxy.example.org", "proxy.example.org:80"),
        ("http://10.0.0.1:3128/", "10.0.0.1:3128"),
        ("HTTP://[2001:db8::1]:8080", "[2001:db8::1]:8080"),
    ],
)
def test_addresses_as_people_write_them(text: str, place: str) -> None:
    found = parse_proxy(text)
    assert found.place == place
    assert found.headers() == {}
    assert str(httpx.URL(found.url()).netloc, "ascii") in (place, place.removesuffix(":80"))


@pytest.mark.parametrize("text", ["https://proxy:3128", "socks5://proxy:1080", "http://proxy:x"])
def test_a_proxy_of_another_kind_is_refused_before_anything_is_sent(text: str) -> None:
    with pytest.raises(InputError, match="has not the form"):
        parse_proxy(text)


@pytest.mark.parametrize(
    ("entry", "covers"),
    [
        ("*", True),
        ("hub.example.org", True),
        ("HUB.example.org", True),
        ("example.org", True),
        (".example.org", True),
        ("*.example.org", True),
        ("hub.example.org:8443", True),
        ("hub.example.org:443", False),
        ("ample.org", False),
        ("hub.example", False),
        ("", False),
        (",,", False),
        (":8443", False),
        ("10.0.0.0/8", False),
        ("localhost example.org", True),
    ],
)
def test_exemptions_of_names(entry: str, covers: bool) -> None:
    assert is_exempt("hub.example.org", 8443, f"localhost,{entry}") is covers


@pytest.mark.parametrize(
    ("host", "entry", "covers"),
    [
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("10.1.2.3", "10.1.2.3:8443", True),
        ("10.1.2.3", "10.1.2.3:443", False),
        ("2001:db8::7", "2001:db8::/32", True),
        ("2001:db8::7", "[2001:db8::7]", True),
    ],
)
def test_exemptions_of_addresses(host: str, entry: str, covers: bool) -> None:
    assert is_exempt(host, 8443, entry) is covers


def test_the_file_beside_site_toml_goes_before_the_environment(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://everybody:3128")
    assert proxy_for(made()) == Proxy("everybody", 3128)
    text = "# ours\nexport https_proxy='http://anna:secret@ours:3128'\nNO_PROXY=localhost\n"
    assert proxy_for(made(text)) == Proxy("ours", 3128, "anna", "secret")
    assert proxy_for(made("no_proxy=.example.org\n")) is None


def test_a_file_with_a_password_that_others_may_read_is_refused(made: Made) -> None:
    text = "https_proxy=http://anna:secret@ours:3128\n"
    with pytest.raises(InputError, match="chmod 600") as error:
        proxy_for(made(text, mode=0o640))
    assert "secret" not in str(error.value)
    assert proxy_for(made("https_proxy=http://ours:3128\n", mode=0o644)) is not None


def test_a_coordinator_without_tls_is_on_this_machine_and_has_no_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("all_proxy", "http://proxy:3128")
    assert proxy_for(Deployment(superlink="127.0.0.1:9092", insecure=True)) is None


@pytest.mark.parametrize(
    "no_proxy", ["", "10.0.0.0/8,localhost", "example.org", "hub.example.org:8443"]
)
def test_the_library_that_connects_comes_to_the_same_end_as_the_check(
    made: Made, no_proxy: str
) -> None:
    deployment = made(f"https_proxy=http://anna:se%40cret@proxy:3128\nno_proxy={no_proxy}\n")
    before = {"HTTPS_PROXY": "http://other:1", "all_proxy": "http://other:2", "NO_PROXY": "x"}
    with mock.patch.dict(os.environ, without_proxy(before) | way_out(deployment), clear=True):
        from httpx._utils import get_environment_proxies

        found = get_environment_proxies()
    proxy = proxy_for(deployment)
    assert found == ({"https://": proxy.url()} if proxy else {})


def test_neither_words_nor_form_of_a_proxy_hold_its_password() -> None:
    found = Proxy("proxy", 3128, "anna", "secret")
    assert "secret" not in f"{found} {found!r} {found.place}"
    assert "anna" not in repr(found)
