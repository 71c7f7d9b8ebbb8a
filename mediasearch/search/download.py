"""Fetch a picture from its address: from the internet and from nowhere else, within a time and a size.

Each name is resolved once, all its addresses are judged, and the connection goes to one of these: a name that leads
elsewhere a moment later gains nothing. httpcore asks the environment for no proxy and sends no cookie and no password,
and by itself it follows nothing and unpacks nothing.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any

import httpcore2 as httpcore
from django.utils.translation import gettext

import mediasearch
from mediasearch import conf
from mediasearch.exceptions import PictureRefused, QueryError
from mediasearch.search import hosts
from mediasearch.search.addresses import Address
from mediasearch.search.hosts import Place

REDIRECTS = 3
"""How often an answer may send to another address."""
_PLACES = 2
"""Addresses of one host that are tried."""
_REDIRECTING = (301, 302, 303, 307, 308)
_PAGES = ("text/html", "application/xhtml+xml")


@dataclass(frozen=True, slots=True)
class Network:
    """Who is asked for pictures, and how. Tests have networks of their own; for a site there is this one."""

    resolve: Callable[[str, float], Sequence[Place]] = hosts.resolve
    may_ask: Callable[[Place], bool] = hosts.is_public
    ports: Container[int] = (80, 443)
    certificates: ssl.SSLContext | None = None
    """Whom to trust; None: whom the system trusts."""


def fetch(address: Address, network: Network | None = None) -> bytes:
    """Return what is at an address. Raises PictureRefused."""
    seconds = conf.settings().fetch_seconds
    deadline = _Deadline(seconds)
    try:
        return _follow(address, network or Network(), deadline)
    except (httpcore.TimeoutException, TimeoutError):
        reason = gettext("Fetching this picture took more than %(seconds)s seconds.") % {"seconds": f"{seconds:g}"}
    except (httpcore.NetworkError, httpcore.ProtocolError):
        reason = gettext("This picture could not be fetched: its host does not answer as it should.")
    raise PictureRefused(reason)


def _follow(address: Address, network: Network, deadline: _Deadline) -> bytes:
    for _ in range(1 + REDIRECTS):
        answer = _ask(address, network, deadline)
        if isinstance(answer, bytes):
            return answer
        address = answer
    raise PictureRefused(gettext("This address sends on too often. Give the address of the picture itself."))


def _ask(address: Address, network: Network, deadline: _Deadline) -> bytes | Address:
    """Return what is at an address, or the address that it sends to."""
    backend = _Pinned(_places(address, network, deadline), deadline)
    url = httpcore.URL(scheme=address.scheme, host=address.host, port=address.port, target=address.target)
    headers: dict[bytes | str, bytes | str] = {
        "Host": address.origin,
        "User-Agent": f"mediasearch/{mediasearch.__version__}",
        "Accept": "image/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    connection = httpcore.HTTPConnection(url.origin, network.certificates, network_backend=backend)
    with connection, connection.stream("GET", url, headers=headers) as response:
        told = {name.lower(): value.decode("utf-8", "replace") for name, value in response.headers}
        if response.status in _REDIRECTING and b"location" in told:
            return _next(address, told[b"location"])
        _check(response.status, told)
        return _body(response)


def _places(address: Address, network: Network, deadline: _Deadline) -> Sequence[Place]:
    """Return the addresses of a host, all judged. Raises PictureRefused, in the same words where there are none."""
    if address.port not in network.ports:
        raise PictureRefused(gettext("Pictures are fetched from the ports 80 and 443 only."))
    try:
        places = network.resolve(address.host, deadline.left())
    except OSError as error:
        if isinstance(error, TimeoutError):
            raise
        places = ()
    if not places or not all(map(network.may_ask, places)):
        raise PictureRefused(gettext("The host in this address does not exist, or is not open to the internet."))
    return places


def _next(address: Address, location: str) -> Address:
    try:
        return address.redirected(location)
    except QueryError:
        raise PictureRefused(gettext("This address sends on to one that can't be fetched.")) from None


def _check(status: int, told: dict[bytes, str]) -> None:
    """Return if an answer may hold a picture. Raises PictureRefused."""
    if status != 200:
        reason = gettext("There is no picture at this address: its host answers with status %(status)s.")
        raise PictureRefused(reason % {"status": status})
    if told.get(b"content-type", "").lower().startswith(_PAGES):
        raise PictureRefused(gettext("This is the address of a page. Give the address of the picture itself."))
    if told.get(b"content-encoding", "identity").strip().lower() not in ("identity", ""):
        raise PictureRefused(gettext("The host in this address sends pictures packed, which was not asked of it."))
    length = told.get(b"content-length", "")
    if length.isdecimal() and int(length) > conf.settings().max_bytes:
        raise _too_large()


def _body(response: httpcore.Response) -> bytes:
    limit, body = conf.settings().max_bytes, bytearray()
    for piece in response.iter_stream():
        body += piece
        if len(body) > limit:
            raise _too_large()
    return bytes(body)


def _too_large() -> PictureRefused:
    reason = gettext("The picture at this address has more than %(limit)s MB.")
    return PictureRefused(reason % {"limit": f"{conf.settings().max_bytes / 1e6:g}"})


class _Deadline:
    """One moment for all that fetching a picture takes, so that what trickles gains nothing."""

    def __init__(self, seconds: float) -> None:
        self._moment = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left. Raises TimeoutError."""
        if (seconds := self._moment - time.monotonic()) <= 0:
            raise TimeoutError
        return seconds


class _Pinned(httpcore.NetworkBackend):
    """Connects to given addresses, whatever the name of the host."""

    def __init__(self, places: Sequence[Place], deadline: _Deadline) -> None:
        self._places = places[:_PLACES]
        self._deadline = deadline

    def connect_tcp(self, host: str, port: int, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        *others, last = self._places
        for count, place in enumerate(others):
            try:
                return self._connect(place, port, self._deadline.left() / (len(self._places) - count))
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._connect(last, port, self._deadline.left())

    def _connect(self, place: Place, port: int, seconds: float) -> httpcore.NetworkStream:
        return _Timed(httpcore.SyncBackend().connect_tcp(str(place), port, seconds), self._deadline)


class _Timed(httpcore.NetworkStream):
    """A connection on which nothing waits beyond the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left())

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Timed(self._stream.start_tls(ssl_context, server_hostname, self._deadline.left()), self._deadline)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
