"""What a scan of an HNSW index goes by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.db import connections, transaction

_MOST_EF = 1_000
_DEFAULTS = {"hnsw.ef_search": "40", "hnsw.iterative_scan": "off"}


@contextmanager
def scanning(ef_search: int, using: str) -> Iterator[None]:
    """Set what an HNSW scan needs, and take it back: in a host's transaction, a local setting would live on."""
    wanted = {"hnsw.ef_search": str(min(ef_search, _MOST_EF)), "hnsw.iterative_scan": "relaxed_order"}
    hosted = connections[using].in_atomic_block
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        before: dict[str, str] = {}
        if hosted:
            asked = ", ".join("coalesce(current_setting(%s, true), %s)" for _ in wanted)
            cursor.execute(f"SELECT {asked}", [value for name in wanted for value in (name, _DEFAULTS[name])])
            before = dict(zip(wanted, cursor.fetchone(), strict=True))
        _set(cursor, wanted)
        yield
        if before:
            _set(cursor, before)


def _set(cursor: Any, values: Mapping[str, str]) -> None:
    given = ", ".join("set_config(%s, %s, true)" for _ in values)
    cursor.execute(f"SELECT {given}", [value for pair in values.items() for value in pair])
