"""A PostgreSQL server of the benchmark's own, with the settings of a machine that serves searches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psutil

from project.services import postgres
from project.services.process import Running, until

GB = 1024**3
SETTINGS = {
    # A quarter of the memory, as PostgreSQL's manual advises; at a million assets, tables and graphs take 8 GB.
    "shared_buffers": f"{max(256, min(6 * GB, psutil.virtual_memory().total // 4) // 1024**2)}MB",
    "effective_cache_size": f"{psutil.virtual_memory().total // 2 // 1024**2}MB",
    "random_page_cost": "1.1",  # An SSD, and most pages in memory.
    "work_mem": "64MB",  # Also the memory of an iterative scan: with less it ends early, and says nothing.
    "jit": "off",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
    "synchronous_commit": "off",
    "autovacuum": "off",  # Nothing changes once the library is loaded, and vacuumed by hand.
}
"""Every setting that is not PostgreSQL's default; maintenance_work_mem is set by the app while it builds an index."""


def start(folder: Path) -> str:
    """Start the server whose data lies in a folder, and return its address; it ends with this process."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = folder.with_name(f"{folder.name}.log")
    if url := postgres.running(folder):
        until(lambda: postgres.create_database(url), "PostgreSQL", log)
        return url
    service = postgres.prepare(folder)
    given = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
    server = Running(replace(service, command=(*service.command, *given)), log)
    server.wait(postgres.create_database)
    return server.url
