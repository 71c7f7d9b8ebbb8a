"""Walking through all hits page by page, each one once, whatever is added meanwhile.

The first page ranks a window and keeps it under a cursor; later pages read it. Beyond a window the next one is ranked
without those that were seen. What a user may see is asked anew for every page: only ids and scores are kept. A cursor
is of use to the user who began it alone, since its totals and scores were counted over what that one sees.
"""

from __future__ import annotations

import json
import re
import secrets
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mediasearch.exceptions import QueryError
from mediasearch.search import cache

WINDOW = 1_000
"""Hits that are ranked at once."""
_CURSOR = re.compile(r"([\w-]{22})\.(\d{1,4})", re.ASCII)
_QUICKLY = 1
"""zlib's level: the others take longer, and hardly less room."""
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Window:
    """Ranked rows that are kept."""

    asked: str
    """What names the question: a cursor of one does not go with another."""
    user: str
    """Whose it is, by primary key; "" for visitors who are not logged in."""
    rows: Sequence[Row]
    seen: Sequence[int] = ()
    """Ids of the windows before."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the first page said of the whole search."""

    @property
    def is_last(self) -> bool:
        return len(self.rows) < WINDOW

    @property
    def ids(self) -> list[int]:
        """All that was seen at its end, in order, as which they take the least room."""
        return sorted([*self.seen, *(row["id"] for row in self.rows)])


def keep(window: Window) -> str | None:
    """Keep a window, and return its key; None where there is no cache to keep it in."""
    key = secrets.token_urlsafe(16)
    name = cache.key("window", key)
    cache.keep(cache.WINDOWS, name, zlib.compress(json.dumps(asdict(window)).encode(), _QUICKLY))
    return key if cache.get(cache.WINDOWS, name) is not None else None


def recall(cursor: str, asked: str, user: str) -> tuple[str, Window, int]:
    """Return the key, the window and the place that a cursor points to. Raises QueryError."""
    found = _CURSOR.fullmatch(cursor)
    kept = cache.get(cache.WINDOWS, cache.key("window", found[1])) if found else None
    if not found or kept is None:
        raise QueryError("These results are no longer kept. Search again from the first page.")
    window = Window(**json.loads(zlib.decompress(kept)))
    if window.user != user:
        raise QueryError("This cursor belongs to another user. Search again from the first page.")
    if window.asked != asked:
        raise QueryError("This cursor belongs to another question. Search again from the first page.")
    return found[1], window, int(found[2])


def page(
    key: str | None,
    window: Window,
    place: int,
    limit: int,
    fetch: Callable[[Sequence[Row]], Sequence[Any]],
    rank: Callable[[Window], Window],
) -> tuple[list[Any], str | None]:
    """Return the hits from a place on, and the cursor of those that follow; None after the last.

    `fetch` returns the hits of rows that are still there, `rank` the window that follows one.
    """
    hits: list[Any] = []
    while True:
        while len(hits) < limit and place < len(window.rows):
            rows = window.rows[place : place + limit - len(hits)]
            hits += fetch(rows)
            place += len(rows)
        if place < len(window.rows):
            return hits, f"{key}.{place}" if key else None
        if window.is_last:
            return hits, None
        window = rank(window)
        key, place = keep(window), 0
        if len(hits) >= limit:
            return hits, f"{key}.0" if key and window.rows else None
