"""The engine as a way of answering: through `mediasearch.search`, with what each step took."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import QuerySet
from django.test import override_settings

import mediasearch
from benchmarks.engine.asked import FINGERPRINT
from benchmarks.engine.library import Library
from benchmarks.engine.rounds import Ran, Way
from benchmarks.engine.truth import TOP
from mediasearch.models import Asset
from mediasearch.search.pictures import Picture

EXACT, HNSW = 10**9, 1
"""What EXACT_SCOPE must be for one plan and for the other."""
_RANKING = "candidates AS"
"""Only the statement that ranks has this in it."""


@dataclass(frozen=True)
class Question:
    """How the engine is asked, all but the words."""

    library: Library
    scope: QuerySet[Asset]
    weights: Mapping[str, float] | None = None
    limit: int = TOP
    bound: int | None = None
    """EXACT_SCOPE, where it is not to be what the settings say."""
    by_picture: bool = False

    def way(self) -> Way:
        return self.ask

    def ask(self, number: int) -> Ran:
        """Search, and return what was found and what it took: planning and ranking; with fetching, the whole."""
        asked = self.library.asked
        given: dict[str, Any] = {"scope": self.scope, "weights": self.weights, "limit": self.limit}
        if self.by_picture:
            given["image"] = Picture(FINGERPRINT, asked["picture"][number])
        words = "" if self.by_picture else str(asked["words"][number])
        with bounded(self.bound):
            started = time.perf_counter()
            outcome = mediasearch.search(words, **given).outcome
            whole = (time.perf_counter() - started) * 1e3
        if outcome.notices:
            raise SystemExit(f"A signal stepped aside: {outcome.notices[0].reason}")
        times = outcome.timings
        ms = sum(took for step, took in times.items() if step not in ("encode", "fetch"))
        places = tuple(hit.asset.pk - 1 for hit in outcome.hits)
        return Ran(places, ms, outcome.plan, whole - times.get("encode", 0.0))


@contextmanager
def bounded(bound: int | None) -> Iterator[None]:
    """Have scopes of at most so many assets answered exactly; None leaves it to the settings."""
    if bound is None:
        yield
        return
    with override_settings(MEDIASEARCH={**settings.MEDIASEARCH, "EXACT_SCOPE": bound}):
        yield


@dataclass
class Statements:
    """The statements of a search, in order, and how long each took."""

    ran: list[tuple[str, tuple[Any, ...], float]] = field(default_factory=list)

    def ranking(self) -> tuple[str, tuple[Any, ...]]:
        """The last statement that ranked: the one whose rows were returned."""
        return self.ran[self._last()][:2]

    def settings(self) -> list[tuple[str, tuple[Any, ...]]]:
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
            statements.ran.append((str(sql), tuple(params or ()), (time.perf_counter() - started) * 1e3))

    with connection.execute_wrapper(record):
        yield statements


_LEG = re.compile(r"(\w+_leg) AS MATERIALIZED \(")


def legs(sql: str, params: tuple[Any, ...]) -> dict[str, tuple[str, tuple[Any, ...]]]:
    """Return, by name, statements that run one leg of a statement each, with what it depends on and nothing else."""
    found = {}
    for match in _LEG.finditer(sql):
        end = _closing(sql, match.end())
        cut = sql[: end + 1]
        found[match[1]] = (f"{cut} SELECT count(*) FROM {match[1]}", params[: cut.count("%s")])
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
