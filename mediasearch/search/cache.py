"""What searches remember, in Django's cache. One that is down costs time and never an answer."""

from __future__ import annotations

import hashlib
import logging
from typing import Any

from django.core.cache import caches

from mediasearch import conf

logger = logging.getLogger(__name__)


def key(*parts: str) -> str:
    """Return a key for what these parts name together."""
    return "mediasearch:" + hashlib.sha256("\0".join(parts).encode()).hexdigest()


def get(name: str) -> Any:
    """Return what was kept under a key; None where nothing was, or the cache does not answer."""
    settings = conf.settings()
    try:
        return caches[settings.cache].get(name)
    except Exception as error:  # Each backend fails in its own way.
        logger.warning("The cache %s does not answer: %s", settings.cache, error, extra={"event": "cache-down"})
        return None


def keep(name: str, value: Any) -> None:
    """Keep a value for MEDIASEARCH["CACHE_SECONDS"], if the cache takes it."""
    settings = conf.settings()
    try:
        caches[settings.cache].set(name, value, settings.cache_seconds)
    except Exception as error:
        logger.warning("The cache %s takes nothing: %s", settings.cache, error, extra={"event": "cache-down"})
