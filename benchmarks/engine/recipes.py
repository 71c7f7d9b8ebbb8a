"""What others would write over the same tables: the recipes that are known for pgvector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet
from numpy.typing import NDArray
from pgvector import HalfVector

from benchmarks.engine import data
from benchmarks.engine.library import Library
from benchmarks.engine.rounds import Ran, Way, clocked
from benchmarks.engine.truth import TOP, Best, Truth
from mediasearch.models import Asset

EF, LISTED = 80, 50
"""hnsw.ef_search, and how many of each leg are fused: as in the recipes, and less work than the engine does."""
LEG_EF = 160
_ITERATIVE = {"hnsw.iterative_scan": "relaxed_order"}
_FORCED = {"enable_sort": "off", "enable_seqscan": "off", "enable_bitmapscan": "off"}
_VECTOR = f"halfvec({data.DIMENSIONS})"
_DISTANCE = "{field}::" + _VECTOR + " <#> %s::" + _VECTOR
_NEAREST = (
    "SELECT asset_id AS id, {distance} AS d FROM mediasearch_embedding WHERE generation_id = {generation}"
    " AND {field} IS NOT NULL AND asset_id IN ({scope}) ORDER BY {distance} LIMIT {limit}"
)
_TEXT = (
    "SELECT id, -ts_rank(text_vector, q) AS d FROM mediasearch_asset, to_tsquery('simple', %s) AS q"
    " WHERE text_vector @@ q AND id IN ({scope}) ORDER BY d, id"
)
_FUSED = (
    "WITH i AS MATERIALIZED ({image}), c AS MATERIALIZED ({caption}), f AS MATERIALIZED ({text} LIMIT {listed})"
    " SELECT id, sum(s) AS score FROM ("
    "SELECT id, 1.0::float8 / (60 + row_number() OVER (ORDER BY d + 0)) AS s FROM i UNION ALL"
    " SELECT id, 1.0::float8 / (60 + row_number() OVER (ORDER BY d + 0)) FROM c UNION ALL"
    " SELECT id, 1.0::float8 / (60 + row_number() OVER (ORDER BY d, id)) FROM f) AS u"
    " GROUP BY id ORDER BY score DESC, id LIMIT {top}"
)
"""Three legs, each filtered, one after the other; then reciprocal rank fusion."""


@dataclass
class Recipes:
    """The recipes over a library, each on a connection whose settings nobody else has."""

    library: Library
    truth: Truth

    @cached_property
    def _planned(self) -> BaseDatabaseWrapper:
        return _connection({"hnsw.ef_search": str(EF), **_ITERATIVE})

    @cached_property
    def _forced(self) -> BaseDatabaseWrapper:
        return _connection({"hnsw.ef_search": str(LEG_EF), **_ITERATIVE, **_FORCED})

    def fused(self, scope: QuerySet[Asset]) -> Way:
        """Three HNSW legs with iterative scan, then RRF, as the planner runs it."""
        return lambda number: clocked(lambda: _places(self._planned, *self._fused(scope, number)))

    def fused_plan(self, scope: QuerySet[Asset]) -> str:
        """How PostgreSQL goes about that."""
        return explained(self._planned, *self._fused(scope, 0))

    def _fused(self, scope: QuerySet[Asset], number: int) -> tuple[str, tuple[object, ...]]:
        sql, given = _scope(scope)
        image, caption = (self._nearest(field, sql, LISTED) for field in ("image", "caption"))
        vector = self._vector(number)
        params = (*(vector, *given, vector) * 2, self._words(number), *given)
        text = _TEXT.format(scope=sql)
        return _FUSED.format(image=image, caption=caption, text=text, listed=LISTED, top=TOP), params

    def leg(self, scope: QuerySet[Asset], field: str) -> Way:
        """One leg, forced onto its HNSW index."""
        sql, given = _scope(scope)
        statement = self._nearest(field, sql, TOP)

        def way(number: int) -> Ran:
            params = (self._vector(number), *given, self._vector(number))
            return clocked(lambda: _places(self._forced, statement, params))

        return way

    def leg_plan(self, scope: QuerySet[Asset], field: str) -> str:
        """How PostgreSQL goes about that."""
        sql, given = _scope(scope)
        return explained(self._forced, self._nearest(field, sql, TOP), (self._vector(0), *given, self._vector(0)))

    def best(self, question: int, mask: NDArray[np.bool_]) -> Best:
        """What the fused recipe should return: the same formula with every leg exact."""
        lists = [self.truth.nearest(question, mask, field, LISTED) for field in ("image", "caption")]
        return self.truth.by_rank([*lists, self._texts(question, mask)[:LISTED]])

    def _texts(self, question: int, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        """All places whose words match, best first."""
        sql = _TEXT.format(scope="SELECT id FROM mediasearch_asset")
        found = np.array(_places(connection, sql, (self._words(question),)), dtype=np.int64)
        return found[mask[found]] if len(found) else found

    def _nearest(self, field: str, scope: str, limit: int) -> str:
        distance = _DISTANCE.format(field=field)
        generation = self.library.generation.pk
        return _NEAREST.format(field=field, distance=distance, generation=generation, scope=scope, limit=limit)

    def _vector(self, number: int) -> str:
        return str(HalfVector(self.library.asked["text"][number]).to_text())

    def _words(self, number: int) -> str:
        return " | ".join(dict.fromkeys(str(self.library.asked["words"][number]).split()))


def explained(connected: BaseDatabaseWrapper, sql: str, params: tuple[object, ...]) -> str:
    with connected.cursor() as cursor:
        cursor.execute(f"EXPLAIN {sql}", params)
        return "\n".join(line for (line,) in cursor.fetchall())


def _connection(settings: Mapping[str, str]) -> BaseDatabaseWrapper:
    own = connection.copy()
    with own.cursor() as cursor:
        cursor.execute("SELECT '[1]'::vector")  # Loads pgvector, whose settings are not known before.
        for name, value in settings.items():
            cursor.execute("SELECT set_config(%s, %s, false)", [name, value])
    return own


def _places(connected: BaseDatabaseWrapper, sql: str, params: tuple[object, ...]) -> list[int]:
    with connected.cursor() as cursor:
        cursor.execute(sql, params)
        return [row[0] - 1 for row in cursor.fetchall()]


def _scope(scope: QuerySet[Asset]) -> tuple[str, tuple[object, ...]]:
    sql, params = scope.order_by().values("pk").query.sql_with_params()
    return sql, tuple(params)
