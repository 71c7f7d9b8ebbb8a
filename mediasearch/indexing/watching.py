"""How far PostgreSQL is with building an index: asked from beside, since whoever builds it waits for the answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import DatabaseError, connections, router

from mediasearch.indexing import sessions
from mediasearch.models import Embedding

EVERY = 1.0
"""Seconds between two looks."""


@dataclass(frozen=True, slots=True)
class Step:
    """How far one phase of a build is."""

    label: str
    done: int = 0
    total: int = 0
    """0 where nobody knows."""
    waits: bool = False
    """Is somebody waited for, so that it is to be said though nobody knows how long?"""


Report = Callable[[Step], None]


@contextmanager
def watched(name: str, rows: int, report: Report | None) -> Iterator[None]:
    """Report how far an index of so many rows is, for as long as the `with` lasts; by a thread of its own."""
    if report is None:
        yield
        return
    over = threading.Event()

    def watch() -> None:
        try:
            while not over.wait(EVERY):
                if step := look(name, rows):
                    report(step)
                sessions.give_back()
        except DatabaseError:
            pass  # Whoever builds it hears of that, too.
        finally:
            connections.close_all()

    watcher = threading.Thread(target=watch, name="mediasearch-watch", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def look(name: str, rows: int) -> Step | None:
    """Return how far an index is, or what is built in its place; None where it is not being built."""
    with connections[router.db_for_write(Embedding)].cursor() as cursor:
        cursor.execute(
            r"SELECT phase, tuples_done, lockers_done, lockers_total, blocks_done, blocks_total"
            r" FROM pg_stat_progress_create_index AS building JOIN pg_class ON pg_class.oid = index_relid"
            r" WHERE datname = current_database() AND relname ~ ('^' || %s || '(_cc(new|old)\d*)?$')",
            [name],
        )
        row = cursor.fetchone()
    if row is None:
        return None
    phase, rows_done, lockers_done, lockers, blocks_done, blocks = row
    if phase.startswith("building index"):  # Its blocks are the whole table's, most of them other generations'.
        return Step(f"Building {name}", min(rows_done, rows), rows)
    return Step(f"{name}, {phase}", *((lockers_done, lockers) if lockers else (blocks_done, blocks)))
