"""The nearest vectors of a generation, found in one way: by its HNSW index, or by looking at all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections, router, transaction
from pgvector import HalfVector

from mediasearch.models import Embedding, Generation

AT = 10
"""How many of the nearest are looked for."""


def nearest(generation: Generation, vector: Any, width: int | None = None) -> list[float]:
    """Return the inner products of the nearest image vectors, best first, in a transaction of its own.

    With a width they are found by the index that searches so widely, without one exactly.
    """
    settings = {
        "enable_indexscan": "off" if width is None else "on",
        "enable_seqscan": "on" if width is None else "off",
    }
    if width is not None:
        settings["hnsw.ef_search"] = str(width)
    with _set(settings) as cursor:
        return _nearest(cursor, generation, vector)


@contextmanager
def _set(settings: dict[str, str]) -> Iterator[Any]:
    """Yield a cursor in a transaction with these settings; a caller's own transaction gets back what it had."""
    using = router.db_for_write(Embedding)
    inside = connections[using].in_atomic_block
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        before = _current(cursor, list(settings)) if inside else {}
        _choose(cursor, settings)
        yield cursor
        _choose(cursor, before)  # In a caller's transaction a local setting would live on.


def _current(cursor: Any, names: list[str]) -> dict[str, str]:
    cursor.execute("SELECT name, current_setting(name, true) FROM unnest(%s::text[]) AS name", [names])
    return {name: value for name, value in cursor.fetchall() if value}


def _choose(cursor: Any, settings: dict[str, str]) -> None:
    if settings:
        cursor.execute(
            "SELECT set_config(name, value, true) FROM unnest(%s::text[], %s::text[]) AS setting (name, value)",
            [list(settings), list(settings.values())],
        )


def _nearest(cursor: Any, generation: Generation, vector: Any) -> list[float]:
    table, dimensions = Embedding._meta.db_table, int(generation.dimensions)
    distance = f"image::halfvec({dimensions}) <#> %s::halfvec({dimensions})"
    literal = HalfVector(vector).to_text()
    cursor.execute(
        f"SELECT -({distance}) FROM {table} WHERE generation_id = {int(generation.pk)} AND image IS NOT NULL"
        f" ORDER BY {distance} LIMIT {AT}",
        [literal, literal],
    )
    return [float(score) for (score,) in cursor.fetchall()]
