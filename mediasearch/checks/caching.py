"""What is wrong with the cache of searches, where it is a Redis or Valkey: does it fill the broker?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from celery import current_app
from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends.redis import RedisCache
from django.core.checks import CheckMessage, Warning, register

from mediasearch import conf
from mediasearch.exceptions import ImproperlySet

_SECONDS = 2
_APART = (
    "Give the cache a server of its own, with `maxmemory 64mb` and `maxmemory-policy allkeys-lru`, or at least a"
    " database number of its own on a server without maxmemory: docs/deployment.md."
)


@register(deploy=True)
def check_cache_server(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """W015: the cache shares the broker's database or memory, or refuses to store when it is full.

    Servers are told apart by what they say themselves, as one has many addresses. Says nothing of one that is away.
    """
    try:
        cache = caches[conf.settings().cache]
    except (ImproperlySet, InvalidCacheBackendError):
        return []  # Another check says so.
    if not isinstance(cache, RedisCache):
        return []
    try:
        return [Warning(said, hint=_APART, id="mediasearch.W015") for said in _faults(cache)]
    except Exception:  # Its client raises what it likes; a server may also forbid INFO or CONFIG.
        return []


def _faults(cache: RedisCache) -> Iterable[str]:
    client = cache._cache.get_client(None, write=True)
    facts = client.info()
    bounded, policy = bool(facts.get("maxmemory")), facts.get("maxmemory_policy", "")
    own = client.connection_pool.connection_kwargs.get("db") or 0
    broker = _broker()
    if broker and broker[0] == facts["run_id"]:
        if broker[1] == own:
            yield "The cache and Celery's broker are one database of one server: clearing the one clears the other."
        elif bounded:
            yield (
                f"The cache and Celery's broker share a server with a maxmemory and the policy {policy}: a full cache"
                " stops the workers, or pushes out their messages."
            )
    elif bounded and policy == "noeviction":
        yield "The cache's server stores nothing any more when it is full: its maxmemory-policy is noeviction."


def _broker() -> tuple[str, int] | None:
    """Return the id and the database of a broker that is a Redis or Valkey, and answers."""
    with current_app.connection_for_write() as connection:
        if connection.transport.driver_type != "redis":
            return None
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=_SECONDS)
        client = connection.default_channel.client
        return client.info()["run_id"], client.connection_pool.connection_kwargs.get("db") or 0
