"""Which site this is: what its processes have in common, and no other site's have, is the database they write."""

from __future__ import annotations

import hashlib
import time

from django.db import InterfaceError, OperationalError, ProgrammingError, connections, transaction

_WORTH = 60.0
"""Seconds for which a mark is not asked for again; a site may move to another server while processes run."""
_TABLES = "SELECT current_database(), d.oid, to_regclass('mediasearch_asset')::oid"
_marks: dict[str, tuple[str, float]] = {}


def of_database(using: str) -> str:
    """Return the mark of the site that writes a database, the same in each of its processes.

    While the database is away: the last one, or "" where there is none. A search may do without that database.
    """
    mark, until = _marks.get(using, ("", 0.0))
    if time.monotonic() >= until:
        try:
            mark = _mark(using)
        except (OperationalError, InterfaceError):
            connections[using].close_if_unusable_or_obsolete()
        _marks[using] = mark, time.monotonic() + _WORTH
    return mark


def is_foreign(mark: str | None, using: str) -> bool:
    """Is this another site's mark? A message without one is of an older version, or of a process without a database."""
    own = of_database(using) if mark else ""
    return bool(own) and mark != own


def _mark(using: str) -> str:
    """Name a server and the tables in it, by whichever address it is reached."""
    database = "FROM pg_database AS d WHERE d.datname = current_database()"
    try:
        with transaction.atomic(using), connections[using].cursor() as cursor:
            cursor.execute(f"{_TABLES}, (SELECT system_identifier FROM pg_control_system()) {database}")
            facts = cursor.fetchone()
    except ProgrammingError:  # The role may not know which server it is on.
        with connections[using].cursor() as cursor:
            cursor.execute(f"{_TABLES} {database}")
            facts = cursor.fetchone()
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
