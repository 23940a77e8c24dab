"""What fifo.toml takes as a URL can be called, and what cannot be called is refused before anything runs."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fifo_cli.handlers.api_client import url_fault
from fifo_cli.model.urls import check_url, host_of, is_this_machine

GOOD = [
    "https://api.example.com/v1/orders",
    "https://api.example.com",
    "https://api.example.com?a=b",
    "http://127.0.0.1:8080/",
    "http://[::1]:8080/x",
    "http://[2001:db8::1]/",
    "https://user_name.example/",
    "https://api.example.com./",
    "https://xn--mnchen-3ya.example/",
    "https://m\u00fcnchen.example/",
    "https://api.example.com/a%20b/@me/x:y",
    "https://api.example.com/\u00fc",
    "https://x:65535/",
    "https://0.a1/",
    "https://4.3.2.1.example/",
    "https://192.168.10.255/",
    "https://api.example.com:443/a?b=c&d=[1]",
]
BAD = {
    "http://127.0.0.1:port/": "port",
    "http://[::1/x": "brackets",
    "http://xn--/": "internationalised",
    "http://xn--a-/": "internationalised",
    "http://[::1]x/": "brackets",
    "http://[zz]/": "IPv6",
    "http://[fe80::1%25eth0]/": "IPv6",
    "http://256.1.1.1/": "IPv4",
    "http://1.2.3/": "IPv4",
    "http://1.2.3.4.5/": "IPv4",
    "http://2130706433/": "IPv4",
    "http://0x7f.1/": "IPv4",
    "http://127.1/": "IPv4",
    "http://010.1.1.1/": "IPv4",
    "http://10.0.0.1./": "IPv4",
    "http://x:0/": "port",
    "http://x:65536/": "port",
    "http://x:/": "port",
    "http://x:\u0665/": "port",
    "http://x:8080:9/": "port",
    "http://a..b/": "host",
    "http://.b/": "host",
    "http://-a/": "host",
    f"http://{'a' * 64}.test/": "host",
    "http://" + "a." * 130 + "b/": "host",
    "http://a b/": "spaces",
    "http://a/\n": "spaces",
    "http://a/\x00": "spaces",
    "http://a\u00a0b/": "spaces",
    "http://me:pw@x/": "user name",
    "http://me@x/": "user name",
    "http://@x/": "user name",
    "http://x/#top": "fragment",
    "http:///x": "http:// or https://",
    "http://": "http:// or https://",
    "ftp://x/": "http:// or https://",
    "x": "http:// or https://",
    "": "http:// or https://",
    "http://a%20b/": "host",
    "http://{host}/": "host",
    "http://a\\b/": "host",
    f"http://x/{'a' * 70_000}": "spaces",
}


@pytest.mark.parametrize("url", GOOD)
def test_a_url_that_can_be_called_is_taken(url):
    check_url(url)
    assert url_fault(url) is None


@pytest.mark.parametrize(("url", "word"), BAD.items())
def test_a_url_that_cannot_is_refused_with_what_is_allowed(url, word):
    with pytest.raises(ValueError, match=word):
        check_url(url)


@given(
    st.one_of(
        st.text(max_size=40).map("http://{}".format),
        st.text(alphabet="ab.-_:[]/?%@x1\u00fc\u3002", max_size=20).map("https://{}".format),
        st.text(alphabet="ab1-\u00e4\u00df", max_size=9).map("https://xn--{}/".format),
    )
)
def test_whatever_is_taken_the_client_takes_too(url):
    try:
        check_url(url)
    except ValueError:
        return
    assert url_fault(url) is None
    httpx.Request("POST", url)


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        ("http://127.0.0.1:1/", True),
        ("http://127.8.9.1/", True),
        ("http://[::1]/", True),
        ("http://localhost/", True),
        ("http://LOCALHOST./", True),
        ("http://localhost.example.com/", False),
        ("http://127.0.0.1.example.com/", False),
        ("http://10.0.0.1/", False),
        ("http://0.0.0.0/", False),
        ("http://[::2]/", False),
    ],
)
def test_this_machine_is_known_by_its_name_or_address(url, ours):
    assert is_this_machine(host_of(url)) is ours
