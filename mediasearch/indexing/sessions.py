"""Sessions of PostgreSQL: given back to a pool of few, opened beside it, and set for long work on indexes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.errors import Diagnostic

from mediasearch import conf
from mediasearch.exceptions import MediaSearchError
from mediasearch.models import Embedding

logger = logging.getLogger(__name__)
_UNBOUNDED = ("statement_timeout", "lock_timeout", "transaction_timeout")
_MEMORY, _WORKERS, _MOST_WORKERS = (
    "maintenance_work_mem",
    "max_parallel_maintenance_workers",
    "max_parallel_workers",
)
_SMALLEST_TABLE = "min_parallel_table_scan_size"
_SHARE = 32 * 1024**2
"""PostgreSQL takes no more workers than have so many bytes of maintenance_work_mem each."""


def give_back() -> None:
    """Return this thread's connections to Django's pool, where it has one and no transaction is open.

    To be called wherever a thread waits for something other than PostgreSQL. One that kept a connection while it waits
    for a thread which needs one would wait for ever where the pool has few.
    """
    for connection in connections.all(initialized_only=True):
        if has_pool(connection) and not connection.in_atomic_block:
            connection.close()


def close_pools() -> None:
    """Close all connections, also those that wait in a pool, which a forked process must not share."""
    for connection in connections.all(initialized_only=True):
        connection.close()
        if has_pool(connection):
            connection.close_pool()  # type: ignore[attr-defined]


def has_pool(connection: BaseDatabaseWrapper) -> bool:
    """Does Django keep a pool of connections for this database, in this process?"""
    return bool(connection.settings_dict["OPTIONS"].get("pool"))


def beside_pool(using: str) -> BaseDatabaseWrapper:
    """Return a new connection that no pool has a part in: what is set for it, or listened for, stays with its owner.

    It is the caller's to close, in the same thread.
    """
    connection = connections[using].copy()
    connection.settings_dict["OPTIONS"].pop("pool", None)
    return connection


@contextmanager
def for_indexes(memory: int = 0, *, parallel: bool = True) -> Iterator[Any]:
    """Yield a cursor of a connection of its own, closed afterwards, so that what is set for it stays with nobody.

    `memory` is what a build takes, in bytes. Behind a pooler nothing is set: it would be left to a stranger.
    """
    using = router.db_for_write(Embedding)
    if connections[using].in_atomic_block:
        raise MediaSearchError("An index can't be built CONCURRENTLY inside a transaction.")
    give_back()
    connection = beside_pool(using)
    try:
        with connection.cursor() as cursor:
            connection.connection.add_notice_handler(_log)  # Such as that a graph outgrew its memory.
            own = _own_settings(cursor)
            pooled = is_pooled(connection)
            chosen = {} if pooled else _settings(own, memory, parallel)
            for name, value in chosen.items():
                cursor.execute("SELECT set_config(%s, %s, false)", [name, str(value)])
            _warn(memory, chosen.get(_MEMORY, own[_MEMORY]) * 1024, pooled=pooled)
            yield cursor
    finally:
        connection.close()


def is_pooled(connection: BaseDatabaseWrapper) -> bool:
    """Is there a pooler before the server? It gives out process ids of its own making.

    In transaction mode it may send each statement to another session: what is set or listened for there is lost.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (process,) = cursor.fetchone()
    return bool(process != connection.connection.info.backend_pid)


def _log(said: Diagnostic) -> None:
    logger.info("PostgreSQL: %s", said.message_primary)


def _own_settings(cursor: Any) -> dict[str, int]:
    """The server's own settings, as this role and database have them; memory in kB."""
    cursor.execute(
        "SELECT name, setting::bigint FROM pg_settings WHERE name = ANY (%s)",
        [[*_UNBOUNDED, _MEMORY, _WORKERS, _MOST_WORKERS, _SMALLEST_TABLE]],
    )
    return dict(cursor.fetchall())


def _settings(own: dict[str, int], memory: int, parallel: bool) -> dict[str, int]:
    """What to set: never less than the server's own, and where that suffices, nothing but time."""
    chosen = {name: 0 for name in _UNBOUNDED if name in own}
    workers = conf.settings().index_workers or max(own[_WORKERS], own[_MOST_WORKERS] // 2)
    if memory > own[_MEMORY] * 1024:
        wanted = -(-max(memory, (workers + 1) * _SHARE) // 1024)  # Rounded up, or a part of a kB is said to lack.
        room = min(conf.settings().index_memory // 1024, wanted)
        chosen |= {_MEMORY: max(own[_MEMORY], room), _WORKERS: workers, _SMALLEST_TABLE: 0}
    return chosen if parallel else chosen | {_WORKERS: 0}


def _warn(needed: int, given: int, *, pooled: bool) -> None:
    if needed > given:
        remedy = 'Raise MEDIASEARCH["INDEX_MEMORY"], if the database server has as much.'
        if pooled:
            remedy = "Connect without the pooler, or let `ALTER ROLE ... SET maintenance_work_mem` give it to the role."
        logger.warning(
            "An index takes %.1f GB of memory to build and gets %.1f GB, which makes it many times slower. %s",
            needed / 1e9, given / 1e9, remedy,
        )  # fmt: skip
