"""Who asks, and how much of the encoder they took lately: counted in Django's cache, for all web processes together."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from mediasearch.features.base import RANKS
from mediasearch.search import cache

WINDOW = 10
"""Seconds over which questions are counted."""
_FREE = 2
"""Questions in a window that a person asks at the most, who looks at what was found."""

_client: ContextVar[str] = ContextVar("mediasearch_client", default="")


@contextmanager
def asking(client: str) -> Iterator[None]:
    """Have what is encoded within be the question of a client, named as `mediasearch.clients.client_of` does."""
    before = _client.set(client)
    try:
        yield
    finally:
        _client.reset(before)


def current() -> str:
    """Return whose question is being answered; "" where it is nobody's in particular."""
    return _client.get()


def rank(client: str) -> int:
    """Count one more question that must be encoded; return how far behind others' it goes, from 0 to `RANKS` - 1.

    Those of nobody in particular count together. Without a cache nobody is told from others.
    """
    window = int(time.time()) // WINDOW
    asked = cache.count(cache.key("questions", client, str(window)), 1, 2 * WINDOW)
    return min(((asked - 1) // _FREE).bit_length(), RANKS - 1) if asked else 0
