"""The statements that the engine sends: recorded, and run again whole or leg by leg."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction

from benchmarks.engine.recipes import explained
from benchmarks.engine.rounds import Ran, clocked

Given = tuple[Any, ...] | dict[str, Any]
"""Parameters, in order or by name."""
Statement = tuple[str, Given]
_RANKING = "signals AS MATERIALIZED"
"""Only the statement that ranks has this in it."""
_LEG = re.compile(r"(\w+_leg) AS MATERIALIZED \(")


@dataclass
class Statements:
    """The statements of a search, in order, and how long each took."""

    ran: list[tuple[str, Given, float]] = field(default_factory=list)

    def ranking(self) -> Statement:
        """The last statement that ranked: the one whose rows were returned."""
        return self.ran[self._last()][:2]

    def settings(self) -> list[Statement]:
        """What was set for it."""
        return [(sql, params) for sql, params, _ in self.ran[: self._last()] if "set_config" in sql]

    def _last(self) -> int:
        return max(place for place, (sql, _, _) in enumerate(self.ran) if _RANKING in sql)

    def ranking_ms(self) -> float:
        return sum(took for sql, _, took in self.ran if _RANKING in sql)


@contextmanager
def recorded() -> Iterator[Statements]:
    """Record the statements that are executed meanwhile."""
    statements = Statements()

    def record(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        started = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            given = dict(params) if isinstance(params, Mapping) else tuple(params or ())
            statements.ran.append((str(sql), given, (time.perf_counter() - started) * 1e3))

    with connection.execute_wrapper(record):
        yield statements


@dataclass(frozen=True)
class Recorded:
    """A statement that ranked, with what was set for it."""

    settings: list[Statement]
    whole: Statement
    legs: dict[str, Statement]

    def run(self, sql: str, params: Given) -> Ran:
        """Run a statement under these settings, and time it alone."""
        with transaction.atomic(), connection.cursor() as cursor:
            for setting in self.settings:
                cursor.execute(*setting)

            def rows() -> list[int]:
                cursor.execute(sql, params)
                cursor.fetchall()
                return []

            return clocked(rows)

    def plan(self) -> str:
        """How PostgreSQL goes about the whole."""
        with transaction.atomic():
            with connection.cursor() as cursor:
                for setting in self.settings:
                    cursor.execute(*setting)
            return explained(connection, *self.whole)


def legs(sql: str, params: Given) -> dict[str, Statement]:
    """Return, by name, statements that run one leg of a statement each, with what it depends on and nothing else."""
    found = {}
    for match in _LEG.finditer(sql):
        end = _closing(sql, match.end())
        cut = sql[: end + 1]
        given = params if isinstance(params, dict) else params[: cut.count("%s")]
        found[match[1]] = (f"{cut} SELECT count(*) FROM {match[1]}", given)
    return found


def _closing(sql: str, place: int) -> int:
    """The place of the bracket that closes the one before a place."""
    depth, quoted = 1, False
    for at in range(place, len(sql)):
        if sql[at] == "'":
            quoted = not quoted
        elif not quoted:
            depth += {"(": 1, ")": -1}.get(sql[at], 0)
            if not depth:
                return at
    raise ValueError("A bracket is never closed.")
