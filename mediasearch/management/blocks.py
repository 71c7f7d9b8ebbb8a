"""Who holds up a command: the transactions that its sessions of PostgreSQL wait for, told while they do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DatabaseError, InterfaceError, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from mediasearch.indexing import sessions
from mediasearch.models import Embedding

EVERY = 5.0
"""Seconds between two looks; who holds it up at both is told of."""
_Blocker = tuple[Any, ...]


@contextmanager
def told(say: Callable[[str], object]) -> Iterator[None]:
    """Say whom this process's sessions wait for, once for each, for as long as the `with` lasts.

    Behind a pooler nothing is said: nobody here knows which of the server's sessions are ours.
    """
    ours: set[int] = set()
    own = connections[router.db_for_write(Embedding)]

    def remember(connection: BaseDatabaseWrapper, **_: Any) -> None:
        if connection.vendor == "postgresql":
            ours.add(connection.connection.info.backend_pid)

    own.ensure_connection()
    remember(own)
    if sessions.is_pooled(own):
        yield
        return
    beside = own.copy()
    beside.settings_dict["OPTIONS"].pop("pool", None)  # A small pool has none to spare.
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=[beside, ours, say, over], name="mediasearch-blocks", daemon=True)
    connection_created.connect(remember, weak=False)
    watcher.start()
    try:
        yield
    finally:
        connection_created.disconnect(remember)
        over.set()
        watcher.join(2 * EVERY)


def _watch(beside: BaseDatabaseWrapper, ours: set[int], say: Callable[[str], object], over: threading.Event) -> None:
    beside.inc_thread_sharing()
    before: set[_Blocker] = set()
    told_of: set[_Blocker] = set()
    try:
        while not over.wait(EVERY):
            now = _blockers(beside, list(ours))
            for blocker in sorted((now & before) - told_of, key=str):
                say(_sentence(*blocker))
                told_of.add(blocker)
            before = now
    except (DatabaseError, InterfaceError):
        pass  # The command hears of that, too.
    finally:
        beside.close()


def _blockers(connection: BaseDatabaseWrapper, ours: list[int]) -> set[_Blocker]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT activity.pid, usename, state, to_char(xact_start, 'YYYY-MM-DD HH24:MI:SS TZ')"
            " FROM unnest(%s::int[]) AS own (pid), unnest(pg_blocking_pids(own.pid)) AS blocker (pid)"
            " JOIN pg_stat_activity AS activity ON activity.pid = blocker.pid WHERE activity.pid <> ALL (%s)",
            [ours, ours],
        )
        return set(cursor.fetchall())


def _sentence(pid: int, user: str | None, state: str | None, since: str | None) -> str:
    who = f"process {pid} of PostgreSQL" + (f", of user {user}" if user else "")
    what = f", {state}" if state else ""
    return (
        f"Waiting for {who}{what}, whose transaction is open{f' since {since}' if since else ''}. This goes on when"
        f" that has ended; where it was forgotten, end it: SELECT pg_terminate_backend({pid})."
    )
