"""The address of a picture that a search fetches, as far as its letters tell."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from urllib.parse import quote, urljoin, urlsplit

from mediasearch.exceptions import QueryError

PORTS = {"http": 80, "https": 443}
LONGEST = 2_000
"""Characters of an address."""
NEEDS = ("httpcore2", "idna")
"""The packages of the extra."""
EXTRA = 'Fetching pictures needs an extra: `pip install "mediasearch[addresses]"`.'
_LONGEST_HOST = 253
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NOT_IN_ADDRESSES = re.compile(r"[\x00-\x20\x7f\\]")
_NOT_ESCAPED = "/%:@!$&'()*+,;=-._~?"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a picture is: an address of http or https, without a name and a password in it."""

    url: str
    scheme: str = field(init=False, repr=False, compare=False)
    host: str = field(init=False, repr=False, compare=False)
    """A name in ASCII, or an IP address without brackets."""
    port: int = field(init=False, repr=False, compare=False)
    target: str = field(init=False, repr=False, compare=False)
    """Path and query, as they are sent."""

    def __post_init__(self) -> None:
        if not isinstance(self.url, str):
            raise QueryError(f"The address of a picture is a str, not {type(self.url).__name__}.")
        if len(self.url) > LONGEST:
            raise QueryError(f"The address of a picture has at most {LONGEST} characters, not {len(self.url)}.")
        if _NOT_IN_ADDRESSES.search(self.url):
            raise QueryError("An address has no spaces, control characters or backslashes. Escape them.")
        try:
            parts = urlsplit(self.url)
            port = parts.port
            path, query = quote(parts.path or "/", safe=_NOT_ESCAPED), quote(parts.query, safe=_NOT_ESCAPED)
        except ValueError as error:
            raise QueryError(f"This is no address of a picture: {error}.") from error
        if parts.scheme not in PORTS or not parts.hostname:
            raise QueryError("The address of a picture begins with http:// or https:// and the name of a host.")
        if "@" in parts.netloc:
            raise QueryError("A picture is fetched without a name and a password: take them out of its address.")
        object.__setattr__(self, "scheme", parts.scheme)
        object.__setattr__(self, "host", _host(parts.hostname))
        object.__setattr__(self, "port", PORTS[parts.scheme] if port is None else port)
        object.__setattr__(self, "target", f"{path}?{query}" if query else path)

    @property
    def origin(self) -> str:
        """The host as the header of that name has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    def redirected(self, location: str) -> Address:
        """Return where an answer from here sends to. Raises QueryError."""
        try:
            return Address(urljoin(self.url, location))
        except ValueError as error:
            raise QueryError(f"This is no address of a picture: {error}.") from error


def _host(name: str) -> str:
    """Return the name of a host in ASCII. Raises QueryError."""
    try:
        if ":" in name:
            return _without_zone(IPv6Address(name))
        name = (name if name.isascii() else _encoded(name)).rstrip(".")
    except ValueError:  # Also what idna raises.
        raise QueryError("The name of the host in this address can't be read.") from None
    if len(name) > _LONGEST_HOST or not all(map(_LABEL.fullmatch, name.split("."))):
        raise QueryError("The name of the host in this address can't be read.")
    return name


def _without_zone(address: IPv6Address) -> str:
    if address.scope_id:
        raise ValueError("a zone means something on one machine only")
    return str(address)


def _encoded(name: str) -> str:
    try:
        import idna
    except ImportError:
        raise QueryError(EXTRA) from None
    return idna.encode(name, uts46=True).decode()
