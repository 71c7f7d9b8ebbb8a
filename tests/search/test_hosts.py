from __future__ import annotations

import socket
import threading
import time
from ipaddress import ip_address
from typing import Any

import pytest

from mediasearch.search import hosts

PRIVATE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.9",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a00:1::",
    "2002:c0a8:1::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "172.32.0.1",
    "192.31.196.1",
    "223.255.255.254",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2001:4860:4860::8888",
    "2002:808:808::1",
    "2606:4700:4700::1111",
    "2a00:1450:4001::1",
]


@pytest.mark.parametrize("place", PRIVATE)
def test_is_public__not_what_is_private_or_nobodys(place: str) -> None:
    assert not hosts.is_public(ip_address(place))


@pytest.mark.parametrize("place", PUBLIC)
def test_is_public__what_belongs_to_the_internet(place: str) -> None:
    assert hosts.is_public(ip_address(place))


@pytest.mark.parametrize("name", ["127.1", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1", "017700000001"])
def test_resolve__odd_forms_are_the_address_that_they_are(name: str) -> None:
    assert hosts.resolve(name, 2.0) == [ip_address("127.0.0.1")]


def test_resolve__finds_all_addresses_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ["93.184.216.34", "10.0.0.1", "93.184.216.34"]
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (place, 0)) for place in found]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: answers)
    assert list(map(str, hosts.resolve("pictures.test", 2.0))) == ["93.184.216.34", "10.0.0.1"]


def test_resolve__a_name_that_nobody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(OSError, match="not known"):
        hosts.resolve("nobody.test", 2.0)


def test_resolve__does_not_wait_for_a_resolver_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: ended.wait(10) and [])
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        hosts.resolve("slow.test", 0.2)
    assert time.monotonic() - started < 2
    ended.set()
