"""What searches remember, in Django's cache. One that is down costs one search some time, and none its answer.

What visitors ask must not fill a server that others use, too, and few caches bound what one user of them may take. So
each kind of entry has a pool with a fixed number of slots, and an entry is cut into pieces that go into one slot after
another, from one on that a hash names. Whatever was there before is lost: that is how a pool forgets. A piece begins
with what it is of, so that nothing else in its slot is taken for it.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache

from mediasearch import conf

logger = logging.getLogger(__name__)
PAUSE = 5.0
"""Seconds in which nothing is asked of a cache that did not answer, so that one search waits for it and not all."""
_NAME, _VERSION, _NUMBER = 16, 8, 2
"""Bytes at the start of a piece: of its entry's name and value, hashed, of the number of pieces and of its own."""
_HEAD = _NAME + _VERSION + _NUMBER
Place = tuple[bytes, int]
"""The entry that a piece is of, hashed, and the piece's number."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Room for one kind of entry."""

    kind: str
    slots: int
    piece: int
    """Bytes that one slot holds, at most."""

    def slot(self, entry: bytes, number: int) -> str:
        """Return the cache's key for a piece of an entry."""
        return f"mediasearch:{self.kind}:{(int.from_bytes(entry[:8], 'big') + number) % self.slots}"

    def pieces(self, name: str, value: bytes) -> dict[str, bytes]:
        """Return what is to be stored of an entry, by slot; nothing of one that is longer than half the pool."""
        entry, room = _entry(name), self.piece - _HEAD - _NUMBER
        number = max(1, -(-len(value) // room))
        if number > self.slots // 2:
            return {}
        head = entry + hashlib.sha256(value).digest()[:_VERSION] + _bytes(number)
        return {self.slot(entry, n): head + _bytes(n) + value[n * room : (n + 1) * room] for n in range(number)}


# The pieces are as long as an allocation of Redis, less what it adds to each. All slots together take 55 MB there, and
# leave 9 MB for the counters of as many clients as ask within a minute.
VECTORS = Pool("vectors", 5_000, 5_000)
"""Of words, up to 1,024 dimensions in one piece."""
PICTURES = Pool("pictures", 1_600, 7_000)
"""That were searched with: a vector, and a thumbnail of 1 to 10 kB."""
WINDOWS = Pool("windows", 1_000, 16_000)
"""Of hits, under their cursors: of a thousand, 30 to 80 kB."""
POOLS = (VECTORS, PICTURES, WINDOWS)


def key(*parts: str) -> str:
    """Return a key for what these parts name together."""
    return "mediasearch:" + hashlib.sha256("\0".join(parts).encode()).hexdigest()


def get(pool: Pool, name: str) -> bytes | None:
    """Return what was kept under a key; None where nothing was, or the cache does not answer."""
    return get_many(pool, [name]).get(name)


def keep(pool: Pool, name: str, value: bytes) -> None:
    """Keep a value for MEDIASEARCH["CACHE_SECONDS"] at most, if the cache takes it."""
    keep_many(pool, {name: value})


def get_many(pool: Pool, names: Iterable[str]) -> dict[str, bytes]:
    """Return what was kept under these keys, by key."""
    entries = {name: _entry(name) for name in names}
    first = _pieces(pool, {(entry, 0): entry for entry in entries.values()})
    heads = {entry: piece[:_HEAD] for (entry, _), piece in first.items()}
    others = {(entry, n): head for entry, head in heads.items() for n in range(1, _number(head))}
    pieces = first | (_pieces(pool, others) if others else {})
    values: dict[str, bytes] = {}
    for name, entry in entries.items():
        cut = [pieces.get((entry, n)) for n in range(_number(heads[entry]))] if entry in heads else [None]
        if None not in cut:
            values[name] = b"".join(piece[_HEAD + _NUMBER :] for piece in cut if piece)
    return values


def keep_many(pool: Pool, values: Mapping[str, bytes]) -> None:
    """Keep values by their keys, if the cache takes them."""
    pieces = {slot: piece for name, value in values.items() for slot, piece in pool.pieces(name, value).items()}
    if pieces:
        _ask(lambda cache, seconds: cache.set_many(pieces, seconds))


def count(name: str, number: int, seconds: int) -> int | None:
    """Add to a counter that begins at 0 and ends after so many seconds; return the sum, None without a cache."""

    def add(cache: BaseCache, _: int) -> int:
        if cache.add(name, number, seconds):
            return number
        try:
            return cache.incr(name, number)
        except ValueError:  # It ended between the two.
            return number

    total: int | None = _ask(add)
    return total


def _entry(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()[:_NAME]


def _bytes(number: int) -> bytes:
    return number.to_bytes(_NUMBER, "big")


def _number(head: bytes) -> int:
    return int.from_bytes(head[-_NUMBER:], "big")


def _pieces(pool: Pool, heads: Mapping[Place, bytes]) -> dict[Place, bytes]:
    """Return those pieces that are still in their slots and begin with these heads."""
    slots = {place: pool.slot(*place) for place in heads}
    stored: dict[str, bytes] = _ask(lambda cache, seconds: cache.get_many(list(dict.fromkeys(slots.values())))) or {}
    found = {place: stored[slot] for place, slot in slots.items() if slot in stored}
    return {place: piece for place, piece in found.items() if _is_of(piece, heads[place], place[1])}


def _is_of(piece: Any, head: bytes, number: int) -> bool:
    return isinstance(piece, bytes) and piece.startswith(head) and piece[_HEAD : _HEAD + _NUMBER] == _bytes(number)


_closed_until: dict[str, float] = {}


def _ask(what: Callable[[BaseCache, int], Any]) -> Any:
    settings = conf.settings()
    if time.monotonic() < _closed_until.get(settings.cache, 0.0):
        return None
    try:
        return what(caches[settings.cache], settings.cache_seconds)
    except Exception as error:  # Each backend fails in its own way.
        _closed_until[settings.cache] = time.monotonic() + PAUSE
        extra = {"event": "cache-down", "cache": settings.cache, "fault": type(error).__name__}
        logger.warning("The cache %s does not answer: %s", settings.cache, error, extra=extra)
        return None
