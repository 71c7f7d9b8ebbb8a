"""Who asks: the user of a request, or the network that it came from.

Sessions are no clients: anybody can have a new one with each request.
"""

from __future__ import annotations

import ipaddress
import re

from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from mediasearch import conf

_WITH_PORT = re.compile(r"\[(?P<six>[0-9a-fA-F:.]+)\](:\d+)?|(?P<four>[0-9.]+):\d+")
"""How some proxies write an address: 192.0.2.1:443, [2001:db8::1]:443."""
_NETWORK = 64
"""Bits of an IPv6 address that name a connection: the others are its owner's to choose."""


def client_of(request: HttpRequest) -> str:
    """Return a name for the user, or for the address of a visitor who is not logged in.

    Keyed with SECRET_KEY, so that wherever the name is kept or sent, it tells nobody the address.
    """
    user = getattr(request, "user", None)
    who = f"user {user.pk}" if user is not None and user.is_authenticated else f"network {_network(address(request))}"
    return salted_hmac("mediasearch.clients", who, algorithm="sha256").hexdigest()[:32]


def address(request: HttpRequest) -> str:
    """Return the address of whoever asked the first of MEDIASEARCH["PROXIES"] trusted proxies.

    What stands further left in X-Forwarded-For, the client may have written itself. Without as many entries, or where
    the entry is no address, it is the address that the connection came from.
    """
    direct: str = request.META.get("REMOTE_ADDR", "")
    proxies = conf.settings().proxies
    entries = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
    if not proxies or len(entries) < proxies:
        return direct
    entry = _without_port(entries[-proxies].strip())
    return entry if _parsed(entry) else direct


def is_behind_unnamed_proxy(request: HttpRequest) -> bool:
    """Return whether all visitors seem to come from one address: that of a proxy which PROXIES does not count."""
    if conf.settings().proxies or "HTTP_X_FORWARDED_FOR" not in request.META:
        return False
    direct = _parsed(request.META.get("REMOTE_ADDR", ""))
    return direct is None or not direct.is_global


def _network(text: str) -> str:
    ip = _parsed(text)
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(ip), _NETWORK), strict=False))
    return str(ip or text)


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address, an IPv4 address within an IPv6 one as itself; None for what is none."""
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip


def _without_port(text: str) -> str:
    found = _WITH_PORT.fullmatch(text)
    return (found["six"] or found["four"]) if found else text
