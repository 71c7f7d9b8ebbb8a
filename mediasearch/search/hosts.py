"""Which hosts may be asked for a picture: those that anybody on the internet can ask."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import Future
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TypeAlias

Place: TypeAlias = IPv4Address | IPv6Address

_GLOBAL_UNICAST = ip_network("2000::/3")
_NAT64 = ip_network("64:ff9b::/96")
_CLOSED = tuple(
    ip_network(text)
    for text in (
        "168.63.129.16/32",  # What Azure's machines ask about themselves; it is registered as global.
        "192.0.0.0/24",  # The rest of these: set apart by IANA. Some versions of Python take parts for global.
        "192.88.99.0/24",
        "2001::/23",
        "2001:db8::/32",
        "3fff::/20",
    )
)


def is_public(place: Place) -> bool:
    """Is this an address that belongs to the internet, and not to this machine, its network or nobody?

    An address that holds another one, to which it leads, is judged by that.
    """
    if (inner := _held(place)) is not None:
        return is_public(inner)
    if place.version == 6 and place not in _GLOBAL_UNICAST:
        return False
    return place.is_global and not place.is_multicast and not any(place in network for network in _CLOSED)


def _held(place: Place) -> IPv4Address | None:
    """Return the IPv4 address inside an IPv6 one: mapped, of 6to4 or of NAT64."""
    if isinstance(place, IPv4Address):
        return None
    return place.ipv4_mapped or place.sixtofour or (IPv4Address(int(place) & 0xFFFF_FFFF) if place in _NAT64 else None)


def resolve(name: str, seconds: float) -> list[Place]:
    """Return all addresses of a host, or the one that it is, however that is written.

    Raises OSError where there are none, and TimeoutError.
    """
    answer: Future[list[Place]] = Future()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
            answer.set_result(list(dict.fromkeys(ip_address(socket_address[0]) for *_, socket_address in found)))
        except Exception as error:
            answer.set_exception(error)

    # Nothing ends a resolver that does not answer; it gives up by itself, and this search does not wait for it.
    threading.Thread(target=ask, name="mediasearch-resolve", daemon=True).start()
    return answer.result(seconds)
