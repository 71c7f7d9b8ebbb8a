"""What searches remember, in Django's cache. One that is down costs one search some time, and none its answer."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache

from mediasearch import conf

logger = logging.getLogger(__name__)
PAUSE = 5.0
"""Seconds in which nothing is asked of a cache that did not answer, so that one search waits for it and not all."""


def key(*parts: str) -> str:
    """Return a key for what these parts name together."""
    return "mediasearch:" + hashlib.sha256("\0".join(parts).encode()).hexdigest()


def get(name: str) -> Any:
    """Return what was kept under a key; None where nothing was, or the cache does not answer."""
    return _ask(lambda cache, seconds: cache.get(name))


def keep(name: str, value: Any) -> None:
    """Keep a value for MEDIASEARCH["CACHE_SECONDS"], if the cache takes it."""
    _ask(lambda cache, seconds: cache.set(name, value, seconds))


def get_many(names: Iterable[str]) -> dict[str, Any]:
    """Return what was kept under these keys, by key."""
    return _ask(lambda cache, seconds: cache.get_many(list(names))) or {}


def keep_many(values: Mapping[str, Any]) -> None:
    """Keep values by their keys, if the cache takes them."""
    _ask(lambda cache, seconds: cache.set_many(dict(values), seconds))


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
