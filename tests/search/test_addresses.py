from __future__ import annotations

import sys
from typing import Any

import pytest

from mediasearch import Address
from mediasearch.exceptions import QueryError


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://example.org/a.png", ("https", "example.org", 443, "/a.png", "example.org")),
        ("HTTP://EXAMPLE.org", ("http", "example.org", 80, "/", "example.org")),
        ("http://example.org.:8080/a?b=c#d", ("http", "example.org", 8080, "/a?b=c", "example.org:8080")),
        ("https://example.org:443/ä%20b?q=ü", ("https", "example.org", 443, "/%C3%A4%20b?q=%C3%BC", "example.org")),
        ("http://[2001:DB8::0:1]/a", ("http", "2001:db8::1", 80, "/a", "[2001:db8::1]")),
        ("https://bücher.example/", ("https", "xn--bcher-kva.example", 443, "/", "xn--bcher-kva.example")),
        ("https://faß.example/", ("https", "xn--fa-hia.example", 443, "/", "xn--fa-hia.example")),
        ("http://①②⑦.⓪.⓪.①/", ("http", "127.0.0.1", 80, "/", "127.0.0.1")),
        ("http://0x7f.1/", ("http", "0x7f.1", 80, "/", "0x7f.1")),  # Left to the resolver, and judged then.
    ],
)
def test_address__is_read(url: str, parts: tuple[str, str, int, str, str]) -> None:
    address = Address(url)
    assert (address.scheme, address.host, address.port, address.target, address.origin) == parts


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "begins with http"),
        ("example.org/a.png", "begins with http"),
        ("//example.org/a.png", "begins with http"),
        ("https:///a.png", "begins with http"),
        ("http:a.png", "begins with http"),
        ("file:///etc/passwd", "begins with http"),
        ("ftp://example.org/a.png", "begins with http"),
        ("gopher://127.0.0.1:6379/_FLUSHALL", "begins with http"),
        ("data:image/png;base64,AAAA", "begins with http"),
        ("http://user@example.org/", "without a name and a password"),
        ("http://user:word@example.org/", "without a name and a password"),
        ("http://example.org@127.0.0.1/", "without a name and a password"),
        ("http://@127.0.0.1/", "without a name and a password"),
        ("http://example.org\\@127.0.0.1/", "backslashes"),
        ("http://example.org /", "no spaces"),
        ("http://exa\tmple.org/", "control characters"),
        ("http://example.org/\r\nHost: internal", "control characters"),
        ("http://example.org/\x00", "control characters"),
        ("http://example.org:0x50/", "no address"),
        ("http://example.org:99999/", "no address"),
        ("http://example.org:-1/", "no address"),
        ("http://[::1/", "no address"),
        ("http://[fe80::1%25eth0]/", "can't be read|no address"),
        ("http://[fe80::1%eth0]/", "can't be read|no address"),
        ("http://[::ffff:127.0.0.1.5]/", "can't be read|no address"),
        ("http://%31%32%37.0.0.1/", "can't be read"),
        ("http://127.0.0.1%2f.example.org/", "can't be read"),
        ("http://a..b/", "can't be read"),
        ("http://.../", "can't be read"),
        ("http://-a.example/", "can't be read"),
        (f"http://{'a' * 64}.example/", "can't be read"),
        (f"http://{'a.' * 130}example/", "can't be read"),
        ("http://exa\ud800mple.org/", "can't be read|no address"),
        ("http://example.org/\ud800", "no address"),
        ("http://a\u2100b.example/", "can't be read|no address"),
        ("http://example.org/" + "x" * 10_000_000, "at most 2000 characters"),
        (b"http://example.org/", "not bytes"),
        (None, "not NoneType"),
    ],
)
def test_address__refuses_what_it_can_not_read(url: Any, sentence: str) -> None:
    with pytest.raises(QueryError, match=sentence):
        Address(url)


def test_redirected__from_where_it_is() -> None:
    start = Address("https://example.org/a/b.png")
    assert start.redirected("c.png").url == "https://example.org/a/c.png"
    assert start.redirected("//other.example/c.png").host == "other.example"
    for location in ("file:///etc/passwd", "http://[", "javascript:1", "http://a@b/"):
        with pytest.raises(QueryError):
            start.redirected(location)


def test_address__without_the_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "idna", None)
    assert Address("https://example.org/").host == "example.org"
    with pytest.raises(QueryError, match=r"pip install .mediasearch\[addresses\]"):
        Address("https://bücher.example/")
