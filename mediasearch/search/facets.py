"""What there is among the matches of a search: categories, tags, years, orientations and sources, counted.

Small scopes are counted. Of large ones a sample of the table's pages is, each page taken by itself with the same
chance, which gives an unbiased estimate and its error (Horvitz and Thompson, 1952) however the pictures lie together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db import connections

from mediasearch.models import Asset, Embedding
from mediasearch.search import signals
from mediasearch.search.request import Request
from mediasearch.search.signals import Sql

NAMES = ("category", "tags", "year", "orientation", "source")
MOST = 50
"""Values of one facet."""
SAMPLE = 6_000
"""Assets that a sample should have, on average."""
_CONFIDENCE = 1.96
_ASSETS, _EMBEDDINGS = Asset._meta.db_table, Embedding._meta.db_table
_SQUARE = 0.02
"""How much the sides of a square picture may differ."""
_VALUES = f"""
    (VALUES ('category', nullif(a.category, '')), ('source', a.source),
            ('year', extract(year FROM coalesce(a.taken_at, a.created_at))::int::text),
            ('orientation', CASE WHEN a.width IS NULL OR a.height IS NULL THEN NULL
                                 WHEN abs(a.width - a.height) <= {_SQUARE} * a.width THEN 'square'
                                 WHEN a.width > a.height THEN 'landscape' ELSE 'portrait' END)
     UNION ALL SELECT 'tags', tag FROM unnest(a.tags) AS tag) AS said (facet, value)
"""


@dataclass(frozen=True, slots=True)
class Count:
    """How many matches have a value."""

    value: str
    number: int
    error: int = 0
    """Half the width of the 95 % confidence interval; 0 where all were counted."""


@dataclass(frozen=True, slots=True)
class Facets:
    """The values of each facet, the most frequent first."""

    counts: Mapping[str, tuple[Count, ...]]
    is_exact: bool = True

    def __getitem__(self, name: str) -> tuple[Count, ...]:
        return self.counts[name]


def of(request: Request, using: str, estimate: float, bound: int) -> Facets:
    """Count the matches of a request; with an `estimate` of the scope above `bound`, in a sample."""
    share = 1.0 if estimate <= bound else min(1.0, SAMPLE / estimate)
    sql = _statement(request, share)
    with connections[using].cursor() as cursor:
        cursor.execute(sql.text, sql.params)
        rows = cursor.fetchall()
    return Facets({name: _counts(name, rows, share) for name in NAMES}, is_exact=share == 1.0)


def nothing() -> Facets:
    """Return the facets of an empty scope."""
    return Facets(dict.fromkeys(NAMES, ()))


def _counts(name: str, rows: Sequence[tuple[str, str, int, int]], share: float) -> tuple[Count, ...]:
    return tuple(
        Count(value, round(int(found) / share), round(_CONFIDENCE * (int(squares) * (1 - share)) ** 0.5 / share))
        for facet, value, found, squares in rows
        if facet == name
    )


def _statement(request: Request, share: float) -> Sql:
    """Count by page of the table, and sum the counts and their squares."""
    sample = f" TABLESAMPLE SYSTEM ({100 * share!r})" if share < 1 else ""
    page = "(a.ctid::text::point)[0]" if share < 1 else "0"
    matches = _matches(request)
    return Sql(
        "SELECT facet, value, found, squares FROM (SELECT facet, value, sum(number) AS found,"
        " sum(number * number) AS squares,"
        " row_number() OVER (PARTITION BY facet ORDER BY sum(number) DESC, value) AS place FROM ("
        f"SELECT facet, value, {page} AS page, count(*) AS number FROM {_ASSETS} a{sample} CROSS JOIN LATERAL {_VALUES}"
        f" WHERE a.id IN ({request.scope.text}) AND {matches.text} AND value IS NOT NULL GROUP BY 1, 2, 3"
        ") AS by_page GROUP BY 1, 2) AS counted WHERE place <= %s ORDER BY facet, place",
        (*request.scope.params, *matches.params, MOST),
    )


def _matches(request: Request) -> Sql:
    """What a match is: it has a vector that can be compared, or a word of the question. Nothing asked, all are."""
    ways: list[Sql] = []
    if request.vectors and request.generation:
        present = " OR ".join(f"e.{field} IS NOT NULL" for field in request.vectors)
        ways.append(
            Sql(
                f"EXISTS (SELECT FROM {_EMBEDDINGS} e WHERE e.asset_id = a.id"
                f" AND e.generation_id = {int(request.generation.pk)} AND ({present}))"
            )
        )
    if request.text:
        any_word = signals.any_word(request.text)
        ways.append(Sql(f"a.text_vector @@ {any_word.text}", any_word.params))
    if not ways:
        return Sql("true")
    return Sql(f"({' OR '.join(way.text for way in ways)})", signals.params(ways))
