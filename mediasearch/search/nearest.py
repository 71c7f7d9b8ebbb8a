"""The assets of a scope whose vectors are nearest to one: a small scope exactly, a large one through the index.

Generation ids and dimensions are integers in the text: as parameters they would cost the planner its proof that the
partial index applies.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import QuerySet
from pgvector import Vector

from mediasearch import conf
from mediasearch.models import Asset, Embedding, Generation, Job, Stage
from mediasearch.search import size, vectors
from mediasearch.search.scan import scanning
from mediasearch.search.signals import Sql

Found = tuple[int, float]
"""An asset's id, and its cosine."""
EMBEDDINGS, JOBS = Embedding._meta.db_table, Job._meta.db_table


@dataclass(frozen=True, slots=True)
class _Scope:
    """A queryset as a subselect of ids."""

    ids: Sql
    using: str

    @classmethod
    def of(cls, assets: QuerySet[Asset]) -> _Scope | None:
        """Return the scope of a queryset; None where Django knows that it is empty."""
        try:
            sql, params = assets.order_by().values("pk").query.get_compiler(assets.db).as_sql()
        except EmptyResultSet:
            return None
        return cls(Sql(f"SELECT pk AS id FROM ({sql}) AS visible (pk)", tuple(params)), assets.db)

    def is_small(self) -> bool:
        return size.is_small(self.ids, self.using, size.estimated(self.ids, self.using))

    def rows(self, sql: str, params: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with connections[self.using].cursor() as cursor:
            cursor.execute(sql, params)
            found: list[tuple[Any, ...]] = cursor.fetchall()
            return found


def nearest(
    vector: vectors.Vector, fields: Collection[str], generation: Generation, assets: QuerySet[Asset], number: int
) -> list[list[Found]]:
    """Return, for each of the fields, ids and scores of the assets that are nearest by it, the nearest first.

    There are as many as asked for, wherever so many of the scope have such a vector.
    """
    scope = _Scope.of(assets)
    if scope is None:
        return [[] for _ in fields]
    if scope.is_small():
        return [_exact(vector, field, generation, scope, number) for field in fields]
    with scanning(max(conf.settings().ef_search, number), scope.using):
        found = [_by_index(vector, field, generation, scope, number) for field in fields]
    return [
        near if len(near) == number else _exact(vector, field, generation, scope, number)
        for field, near in zip(fields, found, strict=True)
    ]


def cosines(
    vector: vectors.Vector, field: str, generation: Generation, assets: QuerySet[Asset], ids: Collection[int]
) -> dict[int, float]:
    """Return how near the descriptions of these assets are, of those whose vectors say what they say by now."""
    scope = _Scope.of(assets)
    if scope is None or not ids:
        return {}
    width = int(generation.widths[field])
    rows = scope.rows(
        # In single precision: the vector asked with is then rounded no more than for texts that are encoded now.
        f"SELECT asset_id, -({field}::vector({width}) <#> %s::vector({width})) FROM {EMBEDDINGS} AS embedding"
        f" WHERE generation_id = {int(generation.pk)} AND {field} IS NOT NULL AND asset_id = ANY(%s)"
        f" AND asset_id IN ({scope.ids.text}) AND NOT EXISTS (SELECT FROM {JOBS} AS job WHERE job.stage = %s"
        f" AND job.asset_id = embedding.asset_id AND job.generation_id = {int(generation.pk)} AND job.state <> %s)",
        (Vector(vector).to_text(), list(ids), *scope.ids.params, Stage.EMBED_CAPTION, Job.State.DONE),
    )
    return dict(rows)


def _exact(vector: vectors.Vector, field: str, generation: Generation, scope: _Scope, number: int) -> list[Found]:
    """Look at all of the scope; the distances are computed before they are ordered, so no index is asked."""
    inner = f"SELECT asset_id, {_distance(field, generation)} AS distance FROM {_vectors(field, generation, scope)}"
    return scope.rows(
        f"WITH near AS MATERIALIZED ({inner})"
        " SELECT asset_id, -distance FROM near ORDER BY distance, asset_id LIMIT %s",
        (vectors.literal(vector), *scope.ids.params, number),
    )


def _by_index(vector: vectors.Vector, field: str, generation: Generation, scope: _Scope, number: int) -> list[Found]:
    distance, literal = _distance(field, generation), vectors.literal(vector)
    found = scope.rows(
        f"SELECT asset_id, -({distance}) FROM {_vectors(field, generation, scope)} ORDER BY {distance} LIMIT %s",
        (literal, *scope.ids.params, literal, number),
    )
    return sorted(found, key=lambda one: (-one[1], one[0]))  # The scan is in relaxed order.


def _vectors(field: str, generation: Generation, scope: _Scope) -> str:
    inside = f"asset_id IN ({scope.ids.text}) AND {field} IS NOT NULL"
    return f"{EMBEDDINGS} WHERE generation_id = {int(generation.pk)} AND {inside}"


def _distance(field: str, generation: Generation) -> str:
    width = int(generation.widths[field])
    return f"{field}::halfvec({width}) <#> %s::halfvec({width})"
