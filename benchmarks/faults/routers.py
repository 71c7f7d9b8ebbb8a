"""A site with a replica: Django reads there, and writes to the primary."""

from __future__ import annotations

from typing import Any

from benchmarks.faults.troubled import place

FLAG = "replica-answers"
"""While this file is there; before, the replica is being made."""


class Replica:
    """Reads from the replica, whose rows may be of some seconds ago."""

    def db_for_read(self, model: Any, **_: Any) -> str:
        return "replica" if place(FLAG).exists() else "default"

    def db_for_write(self, model: Any, **_: Any) -> str:
        return "default"

    def allow_relation(self, *_: Any, **__: Any) -> bool:
        return True

    def allow_migrate(self, db: str, *_: Any, **__: Any) -> bool:
        return db == "default"
