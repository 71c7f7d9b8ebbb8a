"""Who asks: the user who is logged in, or else the address that a request came from."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address

from django.http import HttpRequest

from mediasearch import conf

_NETWORK = 64
"""Bits of an IPv6 address that name a network: who has one has all addresses in it."""


def client_of(request: HttpRequest) -> str:
    """Return a name for whoever sent a request; a session is none, since anybody can begin new ones."""
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated:
        return f"user {user.pk}"
    return f"address {_network(_address(request))}"


def _address(request: HttpRequest) -> str:
    """Return the address that the outermost of MEDIASEARCH["PROXIES"] trusted proxies saw."""
    direct = str(request.META.get("REMOTE_ADDR", ""))
    if not (proxies := conf.settings().proxies):
        return direct
    seen = str(request.META.get("HTTP_X_FORWARDED_FOR", "")).split(",")
    return seen[-min(proxies, len(seen))].strip() or direct


def _network(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return f"{IPv6Address(int(parsed) >> _NETWORK << _NETWORK)}/{_NETWORK}"
    return str(parsed)
