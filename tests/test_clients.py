"""Who asks, as far as requests tell."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import RequestFactory

from mediasearch.clients import address, client_of, is_behind_unnamed_proxy
from tests.test_views import user


def request(direct: str = "192.0.2.1", forwarded: str | None = None, who: Any = None) -> Any:
    made = RequestFactory().get("/", REMOTE_ADDR=direct)
    if forwarded is not None:
        made.META["HTTP_X_FORWARDED_FOR"] = forwarded
    made.user = who or AnonymousUser()
    return made


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, "198.51.100.7", "192.0.2.1"),
        (1, None, "192.0.2.1"),
        (1, "198.51.100.7", "198.51.100.7"),
        (1, "10.9.9.9, 198.51.100.7", "198.51.100.7"),  # The first is what the client wrote itself.
        (2, "10.9.9.9, 198.51.100.7,203.0.113.5", "198.51.100.7"),
        (2, "198.51.100.7", "192.0.2.1"),
        (1, "198.51.100.7:51234", "198.51.100.7"),
        (1, "[2001:db8::7]:443", "2001:db8::7"),
        (1, "unknown", "192.0.2.1"),
        (1, "", "192.0.2.1"),
        (1, "198.51.100.7, <script>", "192.0.2.1"),
        (1, "1" * 100_000, "192.0.2.1"),
    ],
)
def test_address__counts_the_proxies_from_the_right(
    settings: Any, proxies: int, forwarded: str | None, expected: str
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"PROXIES": proxies}
    assert address(request(forwarded=forwarded)) == expected


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("", "", True),  # gunicorn behind a socket of the file system.
    ],
)
def test_client_of__visitors_by_the_network_they_own(one: str, other: str, same: bool) -> None:
    assert (client_of(request(one)) == client_of(request(other))) is same


@pytest.mark.django_db
def test_client_of__users_wherever_they_are() -> None:
    eve, dan = user("eve"), user("dan")
    assert client_of(request("192.0.2.1", who=eve)) == client_of(request("192.0.2.9", who=eve))
    assert client_of(request(who=eve)) != client_of(request(who=dan))


def test_client_of__is_no_session() -> None:
    one, other = request(), request()
    one.COOKIES["sessionid"], other.COOKIES["sessionid"] = "a", "b"
    assert client_of(one) == client_of(other)


def test_client_of__tells_no_address(settings: Any) -> None:
    told = client_of(request("192.0.2.1"))
    assert "192.0.2.1" not in told
    settings.SECRET_KEY = "another"
    assert client_of(request("192.0.2.1")) != told


@pytest.mark.parametrize(
    ("direct", "forwarded", "proxies", "expected"),
    [
        ("127.0.0.1", "198.51.100.7", 0, True),
        ("", "198.51.100.7", 0, True),
        ("172.18.0.1", "198.51.100.7", 0, True),
        ("127.0.0.1", None, 0, False),
        ("127.0.0.1", "198.51.100.7", 1, False),
        ("8.8.8.8", "198.51.100.7", 0, False),  # Whoever comes straight from the internet may write what they like.
    ],
)
def test_is_behind_unnamed_proxy(
    settings: Any, direct: str, forwarded: str | None, proxies: int, expected: bool
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"PROXIES": proxies}
    assert is_behind_unnamed_proxy(request(direct, forwarded)) is expected
