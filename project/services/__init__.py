"""PostgreSQL with pgvector, and Valkey, from wheels: what the demo and the tests run on where nothing is installed."""

from __future__ import annotations

from pathlib import Path

from project.services import postgres, valkey
from project.services.process import Running, ServiceError, until

__all__ = ["Running", "ServiceError", "start_postgres", "start_valkey"]


def start_postgres(folder: Path, *, keep: bool = False) -> str:
    """Start the PostgreSQL server whose data lies in a folder, and return the address of its database.

    Where it runs already, only its address is returned. What this call starts ends with this process, unless `keep`.
    Raises ServiceError.
    """
    log = folder.with_name(f"{folder.name}.log")
    if url := postgres.running(folder):
        until(lambda: postgres.create_database(url), "PostgreSQL", log)
        return url
    server = Running(postgres.prepare(folder), log, keep=keep)
    server.wait(postgres.create_database)
    return server.url


def start_valkey(folder: Path, *, durable: bool = False) -> Running:
    """Start a Valkey server on a free port of the loopback address; `durable` keeps its data in the folder.

    It ends with `.stop()`, or with this process; `.url` suits Celery's broker and results, and Django's cache.
    Raises ServiceError.
    """
    server = Running(valkey.prepare(folder, durable=durable), folder / "valkey.log")
    server.wait(valkey.ping)
    return server
